//! For operands within bounds, such as pixels: `R_x = x ⊙ Wᵀs - l ⊙ W⁺ᵀs - h ⊙ W⁻ᵀs`, `s = R ⊘ (W x - W⁺ l - W⁻ h)`.
//!
//! The bounds are numbers, or each sample's own smallest and greatest value. Source: the z^B rule of [montavon2017]; zennit's
//! `ZBox`.

use std::fmt;

use serde::Deserialize;

use super::policy::from_zero;
use super::{EPSILON, Flow, Formula, Policy, Receives, Sharing, terms};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Reduction, Transform};

/// The box rule.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZBox {
    /// The lower bound; the sample's smallest value when absent.
    pub low: Option<f32>,
    /// The upper bound; the sample's greatest value when absent.
    pub high: Option<f32>,
    /// The stabiliser.
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
        from_zero("epsilon", self.epsilon)?;
        let infinite = [self.low, self.high].iter().flatten().any(|v| !v.is_finite());
        if infinite || self.low.zip(self.high).is_some_and(|(low, high)| low >= high) {
            return Err("low and high are numbers, low the smaller".into());
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

/// A bound as large as the operand.
fn bound(b: &mut Builder, x: Value, given: Option<f32>, own: Reduction) -> Value {
    let shape = b.ty(x).shape;
    let v = match given {
        Some(v) => b.scalar_like(f64::from(v), x),
        None => {
            let axes: Vec<usize> = (1..shape.rank()).collect();
            b.reduce(own, x, &axes, true)
        }
    };
    b.expand(v, &shape)
}

impl fmt::Display for ZBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |v: Option<f32>, own: &str| v.map_or(own.to_string(), |v| v.to_string());
        write!(f, "z-box({}, {}, {:e})", side(self.low, "min"), side(self.high, "max"), self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::tests::{check_dense, stabilised};

    #[test]
    fn operands_count_from_the_bound_that_speaks_against_them() {
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
