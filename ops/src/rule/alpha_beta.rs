//! Alpha-beta rule: positive contributions take `α`, negative ones give back `β`, each with its own denominator:
//! `R_x = α R⁺ - β R⁻`.
//!
//! With `z⁺ = W⁺x⁺ + W⁻x⁻ + b⁺` and `z⁻ = W⁻x⁺ + W⁺x⁻ + b⁻`. For `α = 1`, `β = 0` this is the z⁺ rule. Conserves
//! `α - β` of the relevance up to biases and the stabiliser. Source: [bach2015], equation 60; zennit's `AlphaBeta` and
//! `ZPlus`.

use std::fmt;

use serde::Deserialize;

use super::options::options;
use super::policy::check_non_negative;
use super::{EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Transform};

options! {
    /// Treatment of the bias in a rule that separates positive and negative contributions.
    SignedBias, "bias" {
        /// The bias counts on the side of its sign; its share is absorbed.
        Ledger = "ledger",
        /// The bias does not count.
        Ignored = "ignored",
    }
}

/// Alpha-beta rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlphaBeta {
    /// Factor `α` of the positive contributions, ≥ 0; 2 by default.
    pub alpha: f32,
    /// Factor `β` of the negative contributions, ≥ 0; 1 by default.
    pub beta: f32,
    /// Stabiliser of both denominators, absolute and ≥ 0.
    pub epsilon: f32,
    /// Treatment of the bias.
    pub bias: SignedBias,
}

impl Default for AlphaBeta {
    fn default() -> AlphaBeta {
        AlphaBeta { alpha: 2.0, beta: 1.0, epsilon: EPSILON, bias: SignedBias::Ledger }
    }
}

impl Policy for AlphaBeta {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        Some(Formula::one_track(move |b, site, r| self.flow(b, map, site, r)))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }

    fn check(&self) -> Result<(), String> {
        check_non_negative("epsilon", self.epsilon)?;
        check_non_negative("alpha", self.alpha)?;
        check_non_negative("beta", self.beta)
    }
}

impl AlphaBeta {
    pub(super) fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let (x, bias) = terms::operands(b, map, site);
        let bias = bias.filter(|_| self.bias == SignedBias::Ledger);
        let (up, down) = (terms::positive(b, x), terms::negative(b, x));
        let mut terms = vec![];
        for (factor, first, second) in
            [(self.alpha, Transform::Pos, Transform::Neg), (-self.beta, Transform::Neg, Transform::Pos)]
        {
            if factor == 0.0 {
                continue;
            }
            let pair = [(up, first), (down, second)].map(|(x, p)| terms::Term::new(b, map, site, x, p));
            let bias = bias.map(|v| match first {
                Transform::Pos => terms::positive(b, v),
                _ => terms::negative(b, v),
            });
            let z = b.plus(pair[0].y, pair[1].y);
            let z = bias.map_or(z, |v| b.plus(z, v));
            let z = terms::stabilised(b, z, self.epsilon);
            let s = b.guarded_div(r, z);
            let s = if factor == 1.0 { s } else { b.scale(s, f64::from(factor)) };
            terms.extend(pair.map(|t| (t, s)));
        }
        terms::flow(b, map, site, r, &terms)
    }
}

impl fmt::Display for AlphaBeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bias = match self.bias {
            SignedBias::Ledger => "",
            SignedBias::Ignored => ", no bias",
        };
        match (self.alpha, self.beta) {
            (1.0, 0.0) => write!(f, "z-plus({:e}{bias})", self.epsilon),
            (a, b) => write!(f, "alpha-beta({a}, {b}, {:e}{bias})", self.epsilon),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::{check_dense, stabilised};

    #[test]
    fn each_sign_is_shared_by_its_own_sum() {
        for (bias, counts) in [(SignedBias::Ledger, 1.0), (SignedBias::Ignored, 0.0)] {
            let rule = AlphaBeta { alpha: 3.0, beta: 2.0, epsilon: 1e-3, bias };
            check_dense(rule, |unit| {
                let bias = unit.bias * counts;
                let c = unit.contributions();
                let positive = stabilised(c.iter().map(|c| c.max(0.0)).sum::<f64>() + bias.max(0.0), 1e-3);
                let negative = stabilised(c.iter().map(|c| c.min(0.0)).sum::<f64>() + bias.min(0.0), 1e-3);
                let share = |c: f64| unit.r * (3.0 * c.max(0.0) / positive - 2.0 * c.min(0.0) / negative);
                c.into_iter().map(share).collect()
            });
        }
    }
}
