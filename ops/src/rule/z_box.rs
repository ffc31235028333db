//! Box rule for operands within bounds, such as pixels:
//! `R_x = x ⊙ Wᵀs - l ⊙ W⁺ᵀs - h ⊙ W⁻ᵀs`, `s = R ⊘ (W x - W⁺ l - W⁻ h)`.
//!
//! The bounds `l` and `h` are numbers, or the smallest and largest value of each sample. Source: the z^B rule of
//! [montavon2017]; zennit's `ZBox`.

use std::fmt;

use serde::Deserialize;

use super::policy::check_non_negative;
use super::{EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Reduction, Transform};

/// Box rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZBox {
    /// Lower bound; the smallest value of the sample if absent.
    pub low: Option<f32>,
    /// Upper bound; the largest value of the sample if absent.
    pub high: Option<f32>,
    /// Stabiliser, absolute and ≥ 0.
    pub epsilon: f32,
}

impl Default for ZBox {
    fn default() -> ZBox {
        ZBox { low: None, high: None, epsilon: EPSILON }
    }
}

impl Policy for ZBox {
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
        let infinite = [self.low, self.high].iter().flatten().any(|v| !v.is_finite());
        if infinite || self.low.zip(self.high).is_some_and(|(low, high)| low >= high) {
            return Err("invalid low and high: expected numbers, low below high".into());
        }
        Ok(())
    }
}

impl ZBox {
    fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let (x, _) = terms::operands(b, map, site);
        let low = bound(b, x, self.low, Reduction::Min);
        let high = bound(b, x, self.high, Reduction::Max);
        let whole = terms::Term::new(b, map, site, x, Transform::Id);
        let bounds = [(low, Transform::Pos), (high, Transform::Neg)].map(|(v, transform)| {
            let v = b.scale(v, -1.0);
            terms::Term::new(b, map, site, v, transform)
        });
        let terms = [whole, bounds[0], bounds[1]];
        let z = b.plus(terms[0].y, terms[1].y);
        let z = b.plus(z, terms[2].y);
        let z = terms::stabilised(b, z, self.epsilon);
        let s = b.guarded_div(r, z);
        terms::flow(b, map, site, r, &terms.map(|t| (t, s)))
    }
}

/// Builds a bound of the operand's shape: a number, or a reduction over each sample.
fn bound(b: &mut Builder, x: Value, value: Option<f32>, reduction: Reduction) -> Value {
    let shape = b.ty(x).shape;
    let v = match value {
        Some(v) => b.scalar_like(f64::from(v), x),
        None => {
            let axes: Vec<usize> = (1..shape.rank()).collect();
            b.reduce_keepdims(reduction, x, &axes)
        }
    };
    b.expand(v, &shape)
}

impl fmt::Display for ZBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |v: Option<f32>, default: &str| v.map_or(default.to_string(), |v| v.to_string());
        write!(f, "z-box({}, {}, {:e})", text(self.low, "min"), text(self.high, "max"), self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::{check_dense, stabilised};

    #[test]
    fn operands_count_from_the_bound_that_opposes_them() {
        let (low, high, epsilon) = (-1.5, 2.0, 1e-3);
        check_dense(ZBox { low: Some(low), high: Some(high), epsilon }, |unit| {
            let (low, high) = (f64::from(low), f64::from(high));
            let c = unit.x.iter().zip(&unit.w).map(|(x, w)| x * w - low * w.max(0.0) - high * w.min(0.0));
            let c: Vec<f64> = c.collect();
            let s = unit.r / stabilised(c.iter().sum(), epsilon);
            c.iter().map(|c| c * s).collect()
        });
    }
}
