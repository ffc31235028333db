//! z⁺ rule: shares of positive contributions. The alpha-beta rule with `α = 1`, `β = 0`. Source: [montavon2017];
//! zennit's `ZPlus`.

use std::fmt;

use serde::Deserialize;

use super::policy::check_non_negative;
use super::{AlphaBeta, EPSILON, Formula, Policy, Receives, Sharing, SignedBias};
use crate::op::role::Role;

/// z⁺ rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZPlus {
    /// Stabiliser, absolute and ≥ 0.
    pub epsilon: f32,
    /// Treatment of the bias.
    pub bias: SignedBias,
}

impl Default for ZPlus {
    fn default() -> ZPlus {
        ZPlus { epsilon: EPSILON, bias: SignedBias::Ledger }
    }
}

impl Policy for ZPlus {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let (map, rule) = (role.linear()?, self.alpha_beta());
        Some(Formula::one_track(move |b, site, r| rule.flow(b, map, site, r)))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }

    fn check(&self) -> Result<(), String> {
        check_non_negative("epsilon", self.epsilon)
    }
}

impl ZPlus {
    fn alpha_beta(self) -> AlphaBeta {
        AlphaBeta { alpha: 1.0, beta: 0.0, epsilon: self.epsilon, bias: self.bias }
    }
}

impl fmt::Display for ZPlus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.alpha_beta().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::{check_dense, stabilised};

    #[test]
    fn positive_contributions_alone_share() {
        check_dense(ZPlus::default(), |unit| {
            let positive: Vec<f64> = unit.contributions().iter().map(|c| c.max(0.0)).collect();
            let z = stabilised(positive.iter().sum::<f64>() + unit.bias.max(0.0), EPSILON);
            positive.iter().map(|c| unit.r * c / z).collect()
        });
    }
}
