//! Gamma rule: weights that agree with the sign of the result count `1 + γ` times.
//!
//! If `W x + b > 0`: `z = (W + γW⁺) x⁺ + (W + γW⁻) x⁻ + b + γb⁺`; if it is below 0, `W⁺` and `W⁻` are exchanged; if it
//! is 0, nothing passes. Source: [montavon2019], generalised to signed operands; zennit's `Gamma`.

use std::fmt;

use serde::Deserialize;

use super::policy::check_non_negative;
use super::{EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Binary, Builder, Prim, Transform};

/// Gamma rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gamma {
    /// Additional factor of contributions with the result's sign, ≥ 0.
    pub gamma: f32,
    /// Stabiliser of both denominators, absolute and ≥ 0.
    pub epsilon: f32,
}

impl Default for Gamma {
    fn default() -> Gamma {
        Gamma { gamma: 0.25, epsilon: EPSILON }
    }
}

impl Policy for Gamma {
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
        check_non_negative("epsilon", self.epsilon)?;
        check_non_negative("gamma", self.gamma)
    }
}

impl Gamma {
    fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let (x, bias) = terms::operands(b, map, site);
        let gamma = f64::from(self.gamma);
        let y = map.apply(b, site, x, Transform::Id);
        let y = bias.map_or(y, |v| b.plus(y, v));
        let zero = b.scalar_like(0.0, y);
        let (up, down) = (terms::positive(b, x), terms::negative(b, x));
        let mut terms = vec![];
        for (transform, opposite) in [(Transform::Pos, Transform::Neg), (Transform::Neg, Transform::Pos)] {
            // For each half of x: all weights, plus γ times those of one sign.
            let mut halves = vec![];
            for (x, favoured) in [(up, transform), (down, opposite)] {
                let all = terms::Term::new(b, map, site, x, Transform::Id);
                let x = b.scale(x, gamma);
                halves.extend([all, terms::Term::new(b, map, site, x, favoured)]);
            }
            let Some(mut z) = terms::sum(b, halves.iter().map(|t| t.y)) else { continue };
            if let Some(bias) = bias {
                let extra = match transform {
                    Transform::Pos => terms::positive(b, bias),
                    _ => terms::negative(b, bias),
                };
                let extra = b.scale(extra, gamma);
                let bias = b.plus(bias, extra);
                z = b.plus(z, bias);
            }
            let z = terms::stabilised(b, z, self.epsilon);
            let s = b.guarded_div(r, z);
            let (lower, upper) = if transform == Transform::Pos { (zero, y) } else { (y, zero) };
            let applies = b.binary(Binary::Less, lower, upper);
            let s = b.add(Prim::Select, &[applies, s, zero]);
            terms.extend(halves.into_iter().map(|t| (t, s)));
        }
        terms::flow(b, map, site, r, &terms)
    }
}

impl fmt::Display for Gamma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gamma({}, {:e})", self.gamma, self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::{check_dense, stabilised};

    #[test]
    fn contributions_of_the_result_s_sign_count_more() {
        let (gamma, epsilon) = (0.5, 1e-3);
        check_dense(Gamma { gamma, epsilon }, |unit| {
            let sign = unit.y().signum();
            let more = |v: f64| v + f64::from(gamma) * if v * sign > 0.0 { v } else { 0.0 };
            let shares: Vec<f64> = unit.contributions().into_iter().map(more).collect();
            let s = unit.r / stabilised(shares.iter().sum::<f64>() + more(unit.bias), epsilon);
            shares.iter().map(|c| c * s).collect()
        });
    }
}
