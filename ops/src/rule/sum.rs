//! Shares of a sum of operands: `R_k = R |x_k| ⊘ Σ_m |x_m|`, or equal shares. Broadcasts are summed back.
//!
//! Conserves exactly where some operand is not 0; the rest is absorbed. Constants take no part
//! ([`Constants::Data`]) or keep their share ([`Constants::Ledger`]). Source: proportional residuals, [bach2015];
//! equal shares: DLBacktrace version 2.

use std::fmt;

use super::{Contribution, Flow};
use crate::graph::Value;
use crate::op::role::Site;
use crate::prim::Builder;

/// What constant operands do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constants {
    /// They get nothing: live operands share all.
    Data,
    /// They count, and their share is absorbed. Single numbers never count.
    Ledger,
}

/// The rule of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    /// By magnitude, or equal.
    pub by: Contribution,
    /// What constants do.
    pub constants: Constants,
}

impl Sum {
    pub(super) fn lower(self, b: &mut Builder, site: &Site, r: Value) -> Flow {
        let parts = takers(b, site, self.constants);
        let mut operands = vec![None; site.inputs.len()];
        if let [only] = parts.as_slice() {
            let shape = b.ty(site.inputs[*only]).shape;
            operands[*only] = Some(b.sum_to(r, &shape));
            return Flow { operands, absorbed: vec![] };
        }
        if self.by == Contribution::Uniform {
            let share = b.scale(r, 1.0 / parts.len() as f64);
            for k in parts {
                let shape = b.ty(site.inputs[k]).shape;
                operands[k] = Some(b.sum_to(share, &shape));
            }
            return Flow { operands, absorbed: vec![] };
        }
        let magnitudes: Vec<Value> = parts.iter().map(|k| b.abs(site.inputs[*k])).collect();
        let z = magnitudes.iter().skip(1).fold(magnitudes[0], |z, m| b.plus(z, *m));
        let s = b.guarded_div(r, z);
        for (k, m) in parts.iter().zip(&magnitudes) {
            let share = b.mul(s, *m);
            let shape = b.ty(site.inputs[*k]).shape;
            operands[*k] = Some(b.sum_to(share, &shape));
        }
        let passed = b.mul(s, z);
        let dropped = b.minus(r, passed);
        Flow { operands, absorbed: vec![b.total(dropped)] }
    }
}

/// The operands that take part.
pub(super) fn takers(b: &Builder, site: &Site, constants: Constants) -> Vec<usize> {
    let counts =
        |k: &usize| site.live[*k] || (constants == Constants::Ledger && b.ty(site.inputs[*k]).rank() > 0);
    (0..site.inputs.len()).filter(counts).collect()
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.by == Contribution::Uniform { "sum-equal" } else { "sum-proportional" })?;
        if self.constants == Constants::Ledger { f.write_str("(constants=ledger)") } else { Ok(()) }
    }
}
