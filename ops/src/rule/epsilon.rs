//! Epsilon rule: `R_x = x ⊙ Wᵀ (R ⊘ (z + ε sign z))`, `z = W x + b`.
//!
//! Biases and the stabiliser absorb their shares. Source: [bach2015], equation 58; zennit's `Epsilon`, and without a
//! bias its `Norm`.

use std::fmt;

use serde::Deserialize;

use super::policy::check_non_negative;
use super::{EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Transform};

/// Epsilon rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Epsilon {
    /// Stabiliser, absolute and ≥ 0.
    pub epsilon: f32,
}

impl Default for Epsilon {
    fn default() -> Epsilon {
        Epsilon { epsilon: EPSILON }
    }
}

impl Policy for Epsilon {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        Some(Formula::one_track(move |b, site, r| self.flow(b, map, site, r)))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByValue
    }

    fn check(&self) -> Result<(), String> {
        check_non_negative("epsilon", self.epsilon)
    }
}

impl Epsilon {
    fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let (x, bias) = terms::operands(b, map, site);
        let term = terms::Term::new(b, map, site, x, Transform::Id);
        let z = bias.map_or(term.y, |bias| b.plus(term.y, bias));
        let z = terms::stabilised(b, z, self.epsilon);
        let s = b.guarded_div(r, z);
        terms::flow(b, map, site, r, &[(term, s)])
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epsilon({:e})", self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::{check_dense, stabilised};

    #[test]
    fn contributions_count_with_their_signs() {
        for epsilon in [1e-6, 0.25] {
            check_dense(Epsilon { epsilon }, |unit| {
                let s = unit.r / stabilised(unit.y(), epsilon);
                unit.contributions().iter().map(|c| c * s).collect()
            });
        }
    }
}
