//! w² rule: shares by squared weight, independent of the operand: `R_x = A(w²)ᵀ (R ⊘ (A(w²) 1 + b²))`.
//!
//! The bias absorbs its share. Source: [montavon2017]; zennit's `WSquare`.

use std::fmt;

use serde::Deserialize;

use super::policy::check_non_negative;
use super::{EPSILON, Formula, Policy, Receives, Sharing, weight_shares};
use crate::op::role::Role;
use crate::prim::Transform;

/// w² rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WSquare {
    /// Stabiliser, absolute and ≥ 0.
    pub epsilon: f32,
}

impl Default for WSquare {
    fn default() -> WSquare {
        WSquare { epsilon: EPSILON }
    }
}

impl Policy for WSquare {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        Some(Formula::one_track(move |b, site, r| {
            weight_shares::flow(b, map, site, r, Transform::Square, self.epsilon)
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

impl fmt::Display for WSquare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w-square({:e})", self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::check_dense;

    #[test]
    fn squared_weights_share() {
        check_dense(WSquare { epsilon: 1e-3 }, |unit| {
            let squares: Vec<f64> = unit.w.iter().map(|w| w * w).collect();
            let z = squares.iter().sum::<f64>() + unit.bias * unit.bias + f64::from(1e-3f32);
            squares.iter().map(|c| unit.r * c / z).collect()
        });
    }
}
