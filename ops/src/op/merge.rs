//! Choice between the results of two branches of `If`, both of which are part of the graph.

use super::Operator;
use super::role::{Role, Route, Site};
use crate::graph::Value;
use crate::prim::{self, Builder, Prim};
use crate::tensor::Dim;

/// Choice between two branches: the first operand if the condition is 1, the second if it is 0. Only the chosen branch
/// is computed, and it takes all relevance.
#[derive(Clone, Debug, PartialEq)]
pub struct Merge {
    /// 1 or 0: a data-dependent dimension.
    pub condition: Dim,
}

impl Operator for Merge {
    fn attributes(&self) -> String {
        format!(" condition={}", self.condition)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::Merge { condition: self.condition.clone() }, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Rearrange(self)
    }
}

impl Route for Merge {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        let mut shares = vec![];
        for (second, operand) in [false, true].into_iter().zip(site.inputs) {
            let to = b.ty(*operand).shape;
            let prim =
                Prim::MergeTranspose(prim::MergeTranspose { condition: self.condition.clone(), second, to });
            shares.push(Some(b.add(prim, &[r])));
        }
        shares
    }
}
