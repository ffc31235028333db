//! Flat rule: equal shares of all elements that a unit reads: `R_x = A(1)ᵀ (R ⊘ A(1) 1)`.
//!
//! Source: [lapuschkin2019]; zennit's `Flat`.

use std::fmt;

use serde::Deserialize;

use super::policy::check_non_negative;
use super::{EPSILON, Formula, Policy, Receives, Sharing, weight_shares};
use crate::op::role::Role;
use crate::prim::Transform;

/// Flat rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flat {
    /// Stabiliser, absolute and ≥ 0.
    pub epsilon: f32,
}

impl Default for Flat {
    fn default() -> Flat {
        Flat { epsilon: EPSILON }
    }
}

impl Policy for Flat {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        Some(Formula::one_track(move |b, site, r| {
            weight_shares::flow(b, map, site, r, Transform::One, self.epsilon)
        }))
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

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flat({:e})", self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::check_dense;

    #[test]
    fn all_operands_share_alike() {
        check_dense(Flat { epsilon: 1e-3 }, |unit| {
            let z = unit.w.len() as f64 + f64::from(1e-3f32);
            vec![unit.r / z; unit.w.len()]
        });
    }
}
