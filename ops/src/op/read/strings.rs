//! Access to the strings of a node, for readers.

use super::{Attr, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::op::Op;

impl Reading<'_> {
    /// Returns the number of a string of the model.
    pub fn word(&self, string: &str) -> i64 {
        self.words.borrow().number(string)
    }

    /// Returns the number of strings of the model, which is also the number that stands for all others.
    pub fn word_count(&self) -> usize {
        self.words.borrow().count()
    }

    /// Records that a value holds numbers of strings.
    pub fn mark_words(&self, v: Value) {
        self.words.borrow_mut().mark(v);
    }

    /// Returns whether a value holds numbers of strings.
    pub fn is_words(&self, v: Value) -> bool {
        self.words.borrow().holds(v)
    }

    /// Returns whether an attribute is a tensor of strings.
    pub fn holds_strings(&self, name: &str) -> bool {
        matches!(self.attributes.get(name), Some(Attr::Strs(_)))
    }

    /// Returns the elements of an attribute that is a tensor of strings; `None` if it is absent or of numbers.
    ///
    /// # Errors
    /// As [`Reading::strings`].
    pub fn string_tensor(&self, name: &str) -> Result<Option<Vec<String>>, OpError> {
        if self.holds_strings(name) { self.strings(name) } else { Ok(None) }
    }

    /// Records that the result of an operator that moves elements holds strings if its data does.
    pub(super) fn inherit_words(&self, op: &Op, inputs: &[Value], y: Value) {
        let moved = match op {
            Op::Reshape(_)
            | Op::Gather(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::Concat(_) => 0,
            Op::Select(_) => 1,
            _ => return,
        };
        if inputs.get(moved).is_some_and(|v| self.is_words(*v)) {
            self.mark_words(y);
        }
    }
}
