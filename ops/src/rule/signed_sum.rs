//! Shares of a sum of operands by value: `R_k = x_k ⊙ R ⊘ (y + ε sign y)`, a subtrahend's value counted negative.
//!
//! Constants keep their share, and so does the stabiliser. Source: the epsilon rule, [bach2015]; zennit's `Norm` of residual
//! sums.

use std::fmt;

use super::{Flow, signed};
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;

/// The epsilon rule of sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedSum {
    /// The stabiliser, absolute.
    pub epsilon: f32,
}

impl SignedSum {
    /// With `subtracts`, the second operand is subtracted.
    pub(super) fn lower(self, b: &mut Builder, site: &Site, subtracts: bool, r: Value) -> Flow {
        let z = signed::stabilised(b, site.y(), self.epsilon);
        let s = b.guarded_div(r, z);
        let mut flow = Flow { operands: vec![None; site.inputs.len()], absorbed: vec![] };
        let mut kept = r;
        for (k, x) in site.inputs.iter().enumerate() {
            if !site.live[k] {
                continue;
            }
            let share = b.mul(s, *x);
            let share = if subtracts && k == 1 { b.scale(share, -1.0) } else { share };
            kept = b.minus(kept, share);
            let shape = b.ty(*x).shape;
            flow.operands[k] = Some(b.sum_to(share, &shape));
        }
        flow.absorbed.push(b.total(kept));
        flow
    }
}

impl fmt::Display for SignedSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sum-epsilon({:e})", self.epsilon)
    }
}
