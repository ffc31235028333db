//! Shares by contribution magnitude: `R_x = |x| ⊙ |W|ᵀ (R_y ⊘ (|W| |x| + |b|))`, `0/0 = 0`.
//!
//! For a sum or mean over positions the coefficients are 1. With [`Contribution::Uniform`] every position counts alike:
//! `|x|` is replaced by 1.
//!
//! Conserves: exactly with [`Bias::Redistribute`] but for positions that nothing contributes to; with [`Bias::Ledger`] the
//! bias keeps its share. Source: [bach2015] with absolute contributions; DLBacktrace's linear rule, ungated.

use std::fmt;

use serde::Deserialize;

use super::{Bias, Contribution, Flow, Formula, Policy, Receives, Sharing, sides};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Part};

/// The proportional rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proportional {
    /// What a bias does.
    pub bias: Bias,
    /// What counts as a contribution.
    pub by: Contribution,
}

impl Default for Proportional {
    fn default() -> Proportional {
        Proportional { bias: Bias::Ledger, by: Contribution::Magnitude }
    }
}

impl Policy for Proportional {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        let flow = move |b: &mut Builder, site: &Site, r| self.flow(b, map, site, r);
        Some(match self.by {
            Contribution::Magnitude => {
                Formula::coupled(flow, move |b, site, r| sides::tracks(b, map, site, r))
            }
            Contribution::Uniform => Formula::each_track(flow),
        })
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }
}

impl Proportional {
    fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let k = site.data();
        let x = match self.by {
            Contribution::Magnitude => b.abs(site.inputs[k]),
            Contribution::Uniform => {
                let one = b.scalar_like(1.0, site.inputs[k]);
                let shape = b.ty(site.inputs[k]).shape;
                b.expand(one, &shape)
            }
        };
        let bias = match self.bias {
            Bias::Ledger => map.bias(b, site).map(|v| b.abs(v)),
            Bias::Redistribute => None,
        };
        let sum = map.apply(b, site, x, Part::Abs);
        let z = bias.map_or(sum, |bias| b.plus(sum, bias));
        let s = b.guarded_div(r, z);
        let c = map.transpose(b, site, s, Part::Abs);
        // The relevance factor stands first: evaluation then reaches `x` of early layers late.
        let share = b.mul(c, x);
        let mut operands = vec![None; site.inputs.len()];
        operands[k] = Some(share);
        // Absorbed: the bias' share, and `r` wherever nothing contributed (elsewhere `s z = r`).
        let passed = b.mul(s, z);
        let dropped = b.minus(r, passed);
        let mut absorbed = vec![b.total(dropped)];
        if let Some(bias) = bias {
            let shape = b.ty(bias).shape;
            let by_unit = b.sum_to(s, &shape);
            let kept = b.mul(by_unit, bias);
            absorbed.push(b.total(kept));
        }
        Flow { operands, absorbed }
    }
}

impl fmt::Display for Proportional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.by, self.bias) {
            (Contribution::Magnitude, Bias::Ledger) => "proportional",
            (Contribution::Magnitude, Bias::Redistribute) => "proportional(bias=redistribute)",
            (Contribution::Uniform, _) => "uniform",
        })
    }
}
