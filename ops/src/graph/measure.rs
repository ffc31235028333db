//! Dimensions that a graph computes: symbols bound by values of a run.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Graph, Value, Vocabulary};
use crate::tensor::Dim;

impl<O: Vocabulary> Graph<O> {
    /// The symbols that values of this graph bind, in the order in which they were introduced.
    pub fn measured(&self) -> &[(Arc<str>, Value)] {
        &self.measured
    }

    /// The dimension that `v`, an int64 value of one element, will have in a run. The same value is the same symbol; a new
    /// one is named after `word`.
    pub fn measure(&mut self, word: &str, v: Value) -> Dim {
        if let Some((symbol, _)) = self.measured.iter().find(|(_, own)| *own == v) {
            return Dim::symbol(symbol);
        }
        let mut taken: BTreeSet<Arc<str>> = self.measured.iter().map(|(s, _)| s.clone()).collect();
        for id in &self.inputs {
            for dim in self.node(*id).types.iter().flat_map(|ty| &ty.shape.0) {
                dim.symbols(&mut |s| {
                    taken.insert(s.clone());
                });
            }
        }
        let mut n = self.measured.len() + 1;
        while taken.contains(format!("{word}_{n}").as_str()) {
            n += 1;
        }
        let symbol: Arc<str> = format!("{word}_{n}").into();
        let dim = Dim::symbol(&symbol);
        self.measured.push((symbol, v));
        dim
    }
}
