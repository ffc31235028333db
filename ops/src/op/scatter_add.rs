//! Sum of updates by row: the scatters of the standard that add.

use super::Operator;
use super::role::{LinearMap, Role, Site};
use crate::graph::Value;
use crate::prim::{self, Builder, Transform};
use crate::tensor::Dim;

/// Rows of zeros `[to, …]`, to which each row of `updates [m, …]` is added at `indices [m]`. Operands: updates,
/// indices.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterAdd {
    /// Number of rows of the result.
    pub to: Dim,
}

impl Operator for ScatterAdd {
    fn attributes(&self) -> String {
        format!(" to={}", self.to)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::ScatterAdd { axis: 0, to: self.to.clone() }, inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Pool(self)
    }
}

impl LinearMap for ScatterAdd {
    fn has_weight(&self) -> bool {
        false
    }

    fn apply(&self, b: &mut Builder, site: &Site, x: Value, _: Transform) -> Value {
        b.add(prim::ScatterAdd { axis: 0, to: self.to.clone() }, &[x, site.inputs[1]])
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, _: Transform) -> Value {
        b.add(prim::Gather { axis: 0 }, &[s, site.inputs[1]])
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}
