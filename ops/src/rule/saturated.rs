//! Proportional rule for a layer whose activation saturates: contributions that the activation hides take nothing.
//!
//! With `p` and `n` the sums of positive and negative contributions by magnitude, and flags `κ⁺, κ⁻ ∈ {0, 1}`:
//! `R_x = Σ_j c⁺_j κ⁺_j R_j ⊘ D_j + Σ_j |c⁻_j| κ⁻_j R_j ⊘ D_j`, `D = κ⁺ p + κ⁻ n + |b|`. `κ⁺` is 0 below the
//! activation's lower bound, `κ⁻` above its upper bound. For an activation that is not monotone, the flag of a side is
//! 0 if the activation's value does not change without that side.
//!
//! Conserves except for biases and for units both of whose flags are 0, which are absorbed. Source: DLBacktrace version
//! 1.

use std::fmt;

use serde::Deserialize;

use super::options::options;
use super::signed_sums::{self, SignedSums};
use super::{Bounds, Flow, Formula, NodeFacts, Policy, Proportional, Receives, Rule, Sharing};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Binary, Builder, Unary};

options! {
    /// Interpretation of saturation.
    Saturation, "saturation" {
        /// The layer's result decides in every layer, a bound of 0 counts, and a hidden side leaves the denominator.
        Net = "net",
        /// The literal behaviour of DLBacktrace version 1: the bound 0 of Relu has no effect, and a convolution is
        /// decided by the sum of its contributions' magnitudes.
        Literal = "v1",
    }
}

/// Quantity that is compared with the bounds of the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The layer's result. A hidden side leaves the denominator.
    Net,
    /// The sum of magnitudes `p + n`. The denominator keeps a hidden side, whose share is absorbed. Convolutions of
    /// DLBacktrace version 1.
    Magnitude,
}

/// Proportional rule with saturation.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Saturated {
    /// Interpretation of saturation.
    pub saturation: Saturation,
    /// Bounds of the node's activation.
    #[serde(skip)]
    pub bounds: Bounds,
    /// Distance up to which two values of a non-monotone activation are equal.
    #[serde(skip)]
    pub tolerance: f32,
    /// Quantity that is compared with the bounds.
    #[serde(skip)]
    pub by: DecidedBy,
}

impl Default for Saturated {
    fn default() -> Saturated {
        Saturated {
            saturation: Saturation::Net,
            bounds: Bounds::default(),
            tolerance: 1e-6,
            by: DecidedBy::Net,
        }
    }
}

impl Policy for Saturated {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        Some(Formula::coupled(
            move |b, site, r| self.flow(b, map, site, r),
            move |b, site, r| signed_sums::tracks(b, map, site, r),
        ))
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }

    /// Takes the bounds of the activation that is the only reader of the result; without one that saturates, returns
    /// the proportional rule.
    fn for_node(&self, node: &dyn NodeFacts) -> Rule {
        let Some(bounds) = node.bounds().and_then(|bounds| self.saturation.read(bounds)) else {
            return Proportional::default().into();
        };
        let (by, tolerance) = match self.saturation {
            Saturation::Net => (DecidedBy::Net, 1e-6),
            Saturation::Literal if node.convolves() => (DecidedBy::Magnitude, 1e-5),
            Saturation::Literal => (DecidedBy::Net, 0.0),
        };
        Saturated { saturation: self.saturation, bounds, tolerance, by }.into()
    }
}

impl Saturation {
    /// Returns the bounds in this interpretation; `None` if it ignores them.
    fn read(self, bounds: Bounds) -> Option<Bounds> {
        match self {
            Saturation::Net => Some(bounds),
            // Version 1 tests the bound for truth, so Relu's bound 0 is ignored.
            Saturation::Literal if bounds == (Bounds { lower: Some(0.0), ..Bounds::default() }) => None,
            // Version 1 compares values of x · σ(0.75 x).
            Saturation::Literal => Some(Bounds { swish: bounds.swish.map(|_| 0.75), ..bounds }),
        }
    }
}

impl Saturated {
    fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let k = site.data();
        let sums = SignedSums::new(b, map, site, site.inputs[k]);
        let (p, n) = (sums.positive, sums.negative);
        let magnitude = b.plus(p, n);
        let bias = map.bias(b, site);
        let decided = match self.by {
            DecidedBy::Net => site.y(),
            DecidedBy::Magnitude => magnitude,
        };
        let (keep_positive, keep_negative) = self.flags(b, decided, &sums, bias);
        let keep = |b: &mut Builder, flag: Option<Value>, v: Value| match flag {
            Some(flag) => {
                let zero = b.scalar_like(0.0, v);
                b.select(flag, v, zero)
            }
            None => v,
        };
        let (p, n) = (keep(b, keep_positive, p), keep(b, keep_negative, n));
        let visible = b.plus(p, n);
        let mut z = if self.by == DecidedBy::Net { visible } else { magnitude };
        if let Some(bias) = bias {
            let bias = b.abs(bias);
            z = b.plus(z, bias);
        }
        let s = b.guarded_div(r, z);
        let (a, e) = (keep(b, keep_positive, s), keep(b, keep_negative, s));
        let mut operands = vec![None; site.inputs.len()];
        operands[k] = Some(sums.back(b, map, site, a, e));
        let passed = b.mul(s, visible);
        let absorbed = b.minus(r, passed);
        Flow { operands, absorbed: vec![b.total(absorbed)] }
    }

    /// Builds the masks of the units that keep the positive and the negative side; `None` for a side that all units
    /// keep.
    fn flags(
        &self,
        b: &mut Builder,
        decided: Value,
        sums: &SignedSums,
        bias: Option<Value>,
    ) -> (Option<Value>, Option<Value>) {
        let (p, n) = (sums.positive, sums.negative);
        // Version 1 keeps a convolution's side strictly within the bound, and a linear layer's also at the bound.
        let within = if self.by == DecidedBy::Net { Binary::LessOrEqual } else { Binary::Less };
        let mut positive = self.bounds.lower.map(|bound| {
            let bound = b.scalar_like(f64::from(bound), decided);
            b.binary(within, bound, decided)
        });
        let mut negative = self.bounds.upper.map(|bound| {
            let bound = b.scalar_like(f64::from(bound), decided);
            b.binary(within, decided, bound)
        });
        if let Some(slope) = self.bounds.swish {
            // Results without the negative and without the positive side.
            let (mut only_positive, mut only_negative) = (p, n);
            if let Some(bias) = bias {
                let zero = b.scalar_like(0.0, bias);
                let up = b.binary(Binary::Max, bias, zero);
                let down = b.binary(Binary::Min, bias, zero);
                only_positive = b.plus(p, up);
                only_negative = b.minus(n, down);
            }
            let only_negative = b.scale(only_negative, -1.0);
            let mut keep_negative = self.differs(b, slope, decided, only_positive);
            let mut keep_positive = self.differs(b, slope, decided, only_negative);
            if self.by == DecidedBy::Net {
                // Hide a side only if there are two, and the positive one only if the negative one stays.
                let zero = b.scalar_like(0.0, p);
                let (no_p, no_n) =
                    (b.binary(Binary::LessOrEqual, p, zero), b.binary(Binary::LessOrEqual, n, zero));
                let one_sided = b.binary(Binary::Or, no_p, no_n);
                keep_negative = b.binary(Binary::Or, keep_negative, one_sided);
                let dropped = b.unary(Unary::Not, keep_negative);
                let other = b.binary(Binary::Or, one_sided, dropped);
                keep_positive = b.binary(Binary::Or, keep_positive, other);
            }
            let and = |b: &mut Builder, flag: Option<Value>, with: Value| {
                Some(flag.map_or(with, |flag| b.binary(Binary::And, flag, with)))
            };
            positive = and(b, positive, keep_positive);
            negative = and(b, negative, keep_negative);
        }
        (positive, negative)
    }

    /// Builds the mask of the units at which the activation distinguishes `x` from `other`.
    fn differs(&self, b: &mut Builder, slope: f32, x: Value, other: Value) -> Value {
        let f = |b: &mut Builder, x: Value| {
            let inner = b.scale(x, f64::from(slope));
            let gate = b.unary(Unary::Sigmoid, inner);
            b.mul(x, gate)
        };
        let (first, second) = (f(b, x), f(b, other));
        let gap = b.minus(first, second);
        let gap = b.abs(gap);
        let bound = b.scalar_like(f64::from(self.tolerance), gap);
        b.binary(Binary::Less, bound, gap)
    }
}

impl fmt::Display for Saturated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("saturated(")?;
        if let Some(lower) = self.bounds.lower {
            write!(f, "{lower}")?;
        }
        f.write_str("..")?;
        if let Some(upper) = self.bounds.upper {
            write!(f, "{upper}")?;
        }
        if let Some(slope) = self.bounds.swish {
            write!(f, ", swish {slope}")?;
        }
        if self.by == DecidedBy::Magnitude {
            f.write_str(", by magnitude")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Conv, Linear};
    use crate::prim::ConvGeometry;
    use crate::rule::tests::{
        Layer, MAGNITUDE, assert_close, at, close, data, fill, floats, indices, random, tap, window,
    };
    use crate::tensor::Array;

    fn swish(slope: f64, x: f64) -> f64 {
        x / (1.0 + (-slope * x).exp())
    }

    /// Returns whether a unit keeps its positive and its negative side, case by case.
    fn keeps(rule: &Saturated, p: f64, n: f64, net: f64, bias: f64) -> (bool, bool) {
        let decided = if rule.by == DecidedBy::Net { net } else { p + n };
        let (lower, upper) = (rule.bounds.lower.map(f64::from), rule.bounds.upper.map(f64::from));
        let (mut positive, mut negative) = match rule.by {
            DecidedBy::Net => (lower.is_none_or(|l| decided >= l), upper.is_none_or(|u| decided <= u)),
            DecidedBy::Magnitude => (lower.is_none_or(|l| decided > l), upper.is_none_or(|u| decided < u)),
        };
        if let Some(slope) = rule.bounds.swish.map(f64::from) {
            let same =
                |other: f64| (swish(slope, decided) - swish(slope, other)).abs() <= f64::from(rule.tolerance);
            let (without_negative, without_positive) =
                (same(p + bias.max(0.0)), same(-(n + (-bias).max(0.0))));
            match rule.by {
                DecidedBy::Net if p > 0.0 && n > 0.0 => {
                    if without_negative {
                        negative = false;
                    } else if without_positive {
                        positive = false;
                    }
                }
                DecidedBy::Net => {}
                DecidedBy::Magnitude => {
                    negative &= !without_negative;
                    positive &= !without_positive;
                }
            }
        }
        (positive, negative)
    }

    /// Returns the relevance of x and the absorbed relevance; `w(i, j)` is the weight from element `i` of x to element
    /// `j` of y.
    fn expected(
        rule: &Saturated,
        x: &Array,
        y: &Array,
        r: &Array,
        w: impl Fn(&[usize], &[usize]) -> f64,
        bias: impl Fn(&[usize]) -> f64,
    ) -> (Array, f64) {
        let mut share = vec![0.0; data(x).len()];
        let mut absorbed = 0.0;
        for j in indices(y.dims()) {
            let c: Vec<f64> = indices(x.dims()).iter().map(|i| w(i, &j) * at(x, i)).collect();
            let p: f64 = c.iter().map(|c| c.max(0.0)).sum();
            let n: f64 = c.iter().map(|c| (-c).max(0.0)).sum();
            let (positive, negative) = keeps(rule, p, n, at(y, &j), bias(&j));
            let visible = if positive { p } else { 0.0 } + if negative { n } else { 0.0 };
            let z = if rule.by == DecidedBy::Net { visible } else { p + n } + bias(&j).abs();
            let mut passed = 0.0;
            for (s, c) in share.iter_mut().zip(&c) {
                let stays = if *c > 0.0 { positive } else { negative };
                let part = if stays && z != 0.0 { at(r, &j) * c.abs() / z } else { 0.0 };
                *s += part;
                passed += part;
            }
            absorbed += at(r, &j) - passed;
        }
        (floats(x.dims(), &share), absorbed)
    }

    fn rules() -> Vec<Saturated> {
        let bounded = |lower, upper, swish| Saturated {
            bounds: Bounds { lower, upper, swish },
            ..Saturated::default()
        };
        let net = |lower, upper| bounded(lower, upper, None);
        vec![
            net(Some(0.0), None),
            net(Some(-0.4), Some(0.4)),
            net(None, None),
            bounded(Some(-0.6), None, Some(1.0)),
            // The tolerance is large, so that sides are hidden for both reasons.
            Saturated { tolerance: 0.2, ..bounded(Some(-2.0), None, Some(1.0)) },
            Saturated { by: DecidedBy::Magnitude, ..net(Some(1.5), Some(3.0)) },
            Saturated { by: DecidedBy::Magnitude, tolerance: 0.3, ..bounded(Some(0.5), None, Some(0.75)) },
        ]
    }

    #[test]
    fn a_linear_layer_gives_nothing_to_a_side_that_its_activation_hides() {
        let (x, w, bias) = (random(&[6, 5], 1), random(&[7, 5], 2), random(&[7], 3));
        // A row without contributions, and a unit of one sign.
        let x = fill(x.dims(), |i| if i[0] == 4 { 0.0 } else { at(&x, i) });
        let mut dropped = 0;
        for rule in rules() {
            let layer =
                Layer::new(Linear { transposed: true }, &[&x, &w, &bias], &[true, false, false], rule);
            let y = layer.y();
            let r = random(y.dims(), 4);
            let coefficient =
                |i: &[usize], j: &[usize]| if i[0] == j[0] { at(&w, &[j[1], i[1]]) } else { 0.0 };
            let (share, absorbed) = expected(&rule, &x, &y, &r, coefficient, |j| at(&bias, &[j[1]]));
            let actual = layer.explain(&r);
            assert_close(actual.operand(0), &share, &rule.to_string());
            close(actual.absorbed, absorbed, &rule.to_string());
            let plain =
                Layer::new(Linear { transposed: true }, &[&x, &w, &bias], &[true, false, false], MAGNITUDE());
            dropped += usize::from(data(plain.explain(&r).operand(0)) != data(actual.operand(0)));
        }
        assert!(dropped >= 6, "the bounds matter in these layers: {dropped}");
    }

    #[test]
    fn a_convolution_gives_nothing_to_a_hidden_side() {
        let geometry = ConvGeometry { window: window(&[3, 2], &[2, 1], &[1, 0, 2, 1], &[1, 2]), groups: 2 };
        let (x, w, bias) = (random(&[2, 4, 5, 6], 1), random(&[4, 2, 3, 2], 2), random(&[4], 3));
        for rule in rules() {
            let op = Conv { geometry: geometry.clone() };
            let layer = Layer::new(op, &[&x, &w, &bias], &[true, false, false], rule);
            let y = layer.y();
            let r = random(y.dims(), 4);
            let (share, absorbed) =
                expected(&rule, &x, &y, &r, |i, j| tap(&geometry, &w, i, j), |j| at(&bias, &[j[1]]));
            let actual = layer.explain(&r);
            assert_close(actual.operand(0), &share, &rule.to_string());
            close(actual.absorbed, absorbed, &rule.to_string());
        }
    }
}
