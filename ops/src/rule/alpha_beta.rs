//! Positive contributions take `α`, negative ones give back `β`: `R_x = α R⁺ - β R⁻`, each side by its own denominator.
//!
//! With `z⁺ = W⁺x⁺ + W⁻x⁻ + b⁺` and `z⁻ = W⁻x⁺ + W⁺x⁻ + b⁻`. `α = 1`, `β = 0` is the z⁺ rule. Conserves `α - β` of what
//! arrives but for biases and the stabiliser. Source: [bach2015], equation 60; zennit's `AlphaBeta` and `ZPlus`.

use std::fmt;

use serde::Deserialize;

use super::options::options;
use super::policy::from_zero;
use super::{EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Transform};

options! {
    /// Share of a bias under a rule that keeps the signs of contributions apart.
    SignedBias of "bias" {
        /// It counts on the side of its sign, and that share is absorbed.
        Ledger = "ledger",
        /// It does not count.
        Ignored = "ignored",
    }
}

/// The alpha-beta rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlphaBeta {
    /// The factor of the positive side.
    pub alpha: f32,
    /// The factor of the negative side.
    pub beta: f32,
    /// The stabiliser of both denominators.
    pub epsilon: f32,
    /// Share of the bias.
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
        from_zero("epsilon", self.epsilon)?;
        from_zero("alpha", self.alpha)?;
        from_zero("beta", self.beta)
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
