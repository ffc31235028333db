//! Attention rule by magnitude: the total relevance `S` of each head is spread over the elements of its operands.
//!
//! `R_v = ½ S |v| ⊘ Σ|v|`, `R_q = ¼ S |q| ⊘ Σ|q|`, `R_k = ¼ S |k| ⊘ Σ|k|`. The weights do not matter. Source: the
//! closed form of DLBacktrace version 2.

use std::fmt;

use serde::Deserialize;

use super::{Flow, Formula, Policy, Receives, Sharing};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::{Builder, Reduction};

/// Shares of an attention's operands by their magnitudes within each head: half to the values, a quarter each to
/// queries and keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionMagnitudes {}

impl Policy for AttentionMagnitudes {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        role.attention().map(|_| Formula::each_track(flow))
    }

    /// The mask receives no relevance.
    fn receives(&self) -> Receives {
        Receives::Only(vec![0, 1, 2])
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }
}

fn flow(b: &mut Builder, site: &Site, r: Value) -> Flow {
    let mut operands = vec![None; site.inputs.len()];
    let mut absorbed = vec![];
    for (k, share) in [0.25, 0.25, 0.5].into_iter().enumerate() {
        let (share, dropped) = spread(b, site.inputs[k], r, share);
        operands[k] = Some(share);
        absorbed.push(dropped);
    }
    Flow { operands, absorbed }
}

/// Spreads `share` of each head's total over the elements of `x` by magnitude. Returns the relevance of `x`, and the
/// total that heads of zeros drop.
fn spread(b: &mut Builder, x: Value, r: Value, share: f64) -> (Value, Value) {
    let rank = b.ty(r).rank();
    let plane = [rank - 2, rank - 1];
    let total = b.reduce_keepdims(Reduction::Sum, r, &plane);
    let total = b.scale(total, share);
    let x = b.abs(x);
    let sum = b.reduce_keepdims(Reduction::Sum, x, &plane);
    let s = b.guarded_div(total, sum);
    let passed = b.mul(s, sum);
    let dropped = b.minus(total, passed);
    (b.mul(x, s), b.total(dropped))
}

impl fmt::Display for AttentionMagnitudes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attention-magnitudes")
    }
}
