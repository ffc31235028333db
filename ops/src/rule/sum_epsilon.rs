//! Epsilon rule of sums: `R_k = x_k ⊙ R ⊘ (z + ε sign z)`, where a subtrahend counts with a negative sign.
//!
//! With [`Constants::Ledger`], `z` is the sum itself: constants and the stabiliser absorb their shares. With
//! [`Constants::Data`], `z` is the sum of the live operands: constants are a reference and take nothing, and a single
//! live operand takes all without a quotient. An infinite term, as masks have them, takes nothing. Source: the epsilon
//! rule, [bach2015]; zennit's `Norm` for residual sums.

use std::fmt;

use serde::Deserialize;

use super::infinite::finite;
use super::policy::check_non_negative;
use super::{Constants, EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{Role, Site};
use crate::prim::Builder;

/// Epsilon rule of sums.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SumEpsilon {
    /// Stabiliser, absolute and ≥ 0.
    pub epsilon: f32,
    /// Treatment of constant operands: a share that is absorbed, or a reference that takes nothing.
    pub constants: Constants,
}

impl Default for SumEpsilon {
    fn default() -> SumEpsilon {
        SumEpsilon { epsilon: EPSILON, constants: Constants::Ledger }
    }
}

impl Policy for SumEpsilon {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let subtracts = role.sum()?;
        Some(Formula::one_track(move |b, site, r| self.flow(b, site, subtracts, r)))
    }

    fn receives(&self) -> Receives {
        Receives::All
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByValue
    }

    fn check(&self) -> Result<(), String> {
        check_non_negative("epsilon", self.epsilon)
    }

    fn counts_constants(&self) -> bool {
        self.constants == Constants::Ledger
    }
}

impl SumEpsilon {
    /// Builds the flow; the second operand is subtracted if `subtracts` is true.
    fn flow(&self, b: &mut Builder, site: &Site, subtracts: bool, r: Value) -> Flow {
        let mut operands = vec![None; site.inputs.len()];
        let live: Vec<usize> = (0..site.inputs.len()).filter(|k| site.live[*k]).collect();
        let reference = self.constants == Constants::Data && live.len() < site.inputs.len();
        if let ([only], true) = (live.as_slice(), reference) {
            let shape = b.ty(site.inputs[*only]).shape;
            operands[*only] = Some(b.sum_to(r, &shape));
            return Flow { operands, absorbed: vec![] };
        }
        let signed_operand = |b: &mut Builder, k: usize| match subtracts && k == 1 {
            true => b.scale(site.inputs[k], -1.0),
            false => site.inputs[k],
        };
        let z = if reference {
            let terms: Vec<Value> = live.iter().map(|k| signed_operand(b, *k)).collect();
            terms::sum(b, terms).unwrap_or(site.y())
        } else {
            site.y()
        };
        let z = terms::stabilised(b, z, self.epsilon);
        let s = b.guarded_div(r, z);
        let mut rest = r;
        for k in live {
            let x = finite(b, site.inputs[k]);
            let share = b.mul(s, x);
            let share = if subtracts && k == 1 { b.scale(share, -1.0) } else { share };
            rest = b.minus(rest, share);
            let shape = b.ty(site.inputs[k]).shape;
            operands[k] = Some(b.sum_to(share, &shape));
        }
        let absorbed = vec![b.total(rest)];
        Flow { operands, absorbed }
    }
}

impl fmt::Display for SumEpsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.constants {
            Constants::Ledger => write!(f, "sum-epsilon({:e})", self.epsilon),
            Constants::Data => f.write_str("sum-epsilon(constants=data)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Sub;
    use crate::rule::tests::{Layer, assert_close, at, close, fill, random, stabilised, total};

    #[test]
    fn operands_share_by_value_and_constants_by_choice() {
        let (x, y, r) = (random(&[2, 3], 1), random(&[2, 3], 2), random(&[2, 3], 3));
        let epsilon = 1e-3;
        let rule = |constants| SumEpsilon { epsilon, constants };
        let s = fill(&[2, 3], |n| at(&r, n) / stabilised(at(&x, n) - at(&y, n), epsilon));
        let both = Layer::new(Sub, &[&x, &y], &[true, true], rule(Constants::Ledger)).explain(&r);
        let (left, right) =
            (fill(&[2, 3], |n| at(&x, n) * at(&s, n)), fill(&[2, 3], |n| -at(&y, n) * at(&s, n)));
        assert_close(both.operand(0), &left, "minuend");
        assert_close(both.operand(1), &right, "subtrahend");
        close(both.absorbed, total(&r) - total(&left) - total(&right), "the stabiliser's share is absorbed");

        let ledger = Layer::new(Sub, &[&x, &y], &[true, false], rule(Constants::Ledger)).explain(&r);
        assert_close(ledger.operand(0), &left, "a constant keeps its share");
        close(ledger.absorbed, total(&r) - total(&left), "which is absorbed");
        let reference = Layer::new(Sub, &[&x, &y], &[true, false], rule(Constants::Data)).explain(&r);
        assert_close(reference.operand(0), &r, "a reference takes nothing");
    }
}
