//! Data-dependent dimensions: symbols that are bound to values which the graph itself computes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Graph, Value, Vocabulary};
use crate::tensor::Dim;

impl<O: Vocabulary> Graph<O> {
    /// Returns the symbol of each data-dependent dimension and the int64 value of one element that it equals, in the
    /// order of their creation.
    pub fn data_dependent_dims(&self) -> &[(Arc<str>, Value)] {
        &self.data_dependent
    }

    /// Returns the dimension whose size is the value `v`, an int64 value of one element. The same value always has the
    /// same symbol; the name of a new symbol begins with `prefix`.
    pub fn data_dependent_dim(&mut self, prefix: &str, v: Value) -> Dim {
        if let Some((symbol, _)) = self.data_dependent.iter().find(|(_, value)| *value == v) {
            return Dim::symbol(symbol);
        }
        let mut names: BTreeSet<Arc<str>> = self.data_dependent.iter().map(|(s, _)| s.clone()).collect();
        for id in &self.inputs {
            for dim in self.node(*id).types.iter().flat_map(|ty| &ty.shape.0) {
                dim.symbols(&mut |s| {
                    names.insert(s.clone());
                });
            }
        }
        let mut n = self.data_dependent.len() + 1;
        while names.contains(format!("{prefix}_{n}").as_str()) {
            n += 1;
        }
        let symbol: Arc<str> = format!("{prefix}_{n}").into();
        let dim = Dim::symbol(&symbol);
        self.data_dependent.push((symbol, v));
        dim
    }
}
