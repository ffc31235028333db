//! Ensembles of decision trees. Reads `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and `TreeEnsemble` of
//! `ai.onnx.ml`.

mod branches;
mod by_index;
mod by_tree;
mod lists;
mod read;

use super::Operator;
use super::role::Role;
use crate::graph::Value;
use crate::prim::{Builder, Gather, Prim, Reduce, Reduction, TreeLeaves};
use crate::tensor::Tensor;

pub use read::readers;

/// Sum, mean or extremum of the values of the leaves that each row reaches, `[row, target]`.
///
/// Operands: rows `[row, feature]`; features, thresholds, children and roots as in [`TreeLeaves`]; values of the leaves.
/// With six operands the values are `[leaf, target]`. A seventh operand, 1 where the leaves of a tree count for a target
/// and 0 elsewhere, `[tree, target]`, comes with values `[leaf]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeEnsemble {
    /// Largest number of branches on the way to a leaf.
    pub depth: usize,
    /// Function of the trees' values.
    pub aggregate: Aggregate,
    /// Numbers of rows of the training that reach each branch and then each leaf, where the file has them.
    pub covers: Option<Tensor>,
}

/// Function that makes one score of the values of all trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// Sum.
    Sum,
    /// Sum over the number of trees.
    Average,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
}

impl Operator for TreeEnsemble {
    fn attributes(&self) -> String {
        format!(" depth={} aggregate={:?}", self.depth, self.aggregate)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let leaves = b.add(TreeLeaves { depth: self.depth }, &inputs[..5]);
        let values = b.add(Gather { axis: 0 }, &[inputs[5], leaves]);
        let kind = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => Reduction::Sum,
            Aggregate::Min => Reduction::Min,
            Aggregate::Max => Reduction::Max,
        };
        let scores = match inputs.get(6) {
            Some(targets) => b.matmul(values, *targets),
            None => b.add(Prim::Reduce(Reduce { kind, axes: vec![1], keep: false }), &[values]),
        };
        let trees = b.ty(inputs[4]).dim(0).as_known().unwrap_or(1);
        vec![match self.aggregate {
            Aggregate::Average => b.scale(scores, 1.0 / trees as f64),
            Aggregate::Sum | Aggregate::Min | Aggregate::Max => scores,
        }]
    }

    /// The scores change in steps: relevance has no rule, but Shapley values are exact.
    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::NoRelevance
    }
}
