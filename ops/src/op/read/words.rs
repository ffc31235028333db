//! Strings of a model as numbers. Programs compute with numbers alone: each string of the model's constants and attributes has
//! one, and all other strings share the next one.

use std::collections::{HashMap, HashSet};

use crate::graph::Value;

/// Strings of a model by number, and the values of a graph that hold such numbers.
#[derive(Debug, Default)]
pub struct Words {
    numbers: HashMap<String, i64>,
    values: HashSet<Value>,
}

impl Words {
    /// Numbers the strings of a model in their order.
    pub fn new(strings: impl IntoIterator<Item = String>) -> Words {
        let mut words = Words::default();
        for string in strings {
            let next = words.numbers.len() as i64;
            words.numbers.entry(string).or_insert(next);
        }
        words
    }

    /// Returns the number of a string; that of all unknown strings if the model does not have it.
    pub fn number(&self, string: &str) -> i64 {
        self.numbers.get(string).copied().unwrap_or(self.numbers.len() as i64)
    }

    /// Returns the number of strings, which is also the number that stands for all others.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the strings in the order of their numbers.
    pub fn strings(self) -> Vec<String> {
        let mut strings: Vec<(String, i64)> = self.numbers.into_iter().collect();
        strings.sort_by_key(|(_, number)| *number);
        strings.into_iter().map(|(string, _)| string).collect()
    }

    /// Records that a value holds numbers of strings.
    pub fn mark(&mut self, v: Value) {
        self.values.insert(v);
    }

    /// Returns whether a value holds numbers of strings.
    pub fn holds(&self, v: Value) -> bool {
        self.values.contains(&v)
    }
}
