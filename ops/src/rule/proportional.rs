//! Proportional rule: shares by magnitude of contribution, `R_x = |x| ⊙ |W|ᵀ (R_y ⊘ (|W| |x| + |b|))`, with `0/0 = 0`.
//!
//! For a sum or mean over positions the weights are 1. With [`Contribution::Uniform`] all positions take equal shares:
//! `|x|` is replaced by 1.
//!
//! With [`Bias::Redistribute`], conserves exactly except at positions without contributions; with [`Bias::Ledger`], the
//! bias absorbs its share. Source: [bach2015] with absolute contributions; DLBacktrace's linear rule without its gates.

use std::fmt;

use serde::Deserialize;

use super::{Bias, Contribution, Flow, Formula, Policy, Receives, Sharing, signed_sums};
use crate::graph::Value;
use crate::op::role::{LinearMap, Role, Site};
use crate::prim::{Builder, Transform};

/// Proportional rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proportional {
    /// Treatment of the bias.
    pub bias: Bias,
    /// Measure of contributions.
    pub by: Contribution,
}

impl Default for Proportional {
    fn default() -> Proportional {
        Proportional { bias: Bias::Ledger, by: Contribution::Magnitude }
    }
}

impl Policy for Proportional {
    fn formula<'a>(&'a self, role: &Role<'a>) -> Option<Formula<'a>> {
        let map = role.linear()?;
        let flow = move |b: &mut Builder, site: &Site, r| self.flow(b, map, site, r);
        Some(match self.by {
            Contribution::Magnitude => {
                Formula::coupled(flow, move |b, site, r| signed_sums::tracks(b, map, site, r))
            }
            Contribution::Uniform => Formula::each_track(flow),
        })
    }

    fn receives(&self) -> Receives {
        Receives::First
    }

    fn sharing(&self, _: &[bool]) -> Sharing {
        Sharing::ByMagnitude
    }
}

impl Proportional {
    fn flow(&self, b: &mut Builder, map: &dyn LinearMap, site: &Site, r: Value) -> Flow {
        let k = site.data();
        let x = match self.by {
            Contribution::Magnitude => b.abs(site.inputs[k]),
            Contribution::Uniform => {
                let unit = b.scalar_like(1.0, site.inputs[k]);
                let shape = b.ty(site.inputs[k]).shape;
                b.expand(unit, &shape)
            }
        };
        let bias = match self.bias {
            Bias::Ledger => map.bias(b, site).map(|v| b.abs(v)),
            Bias::Redistribute => None,
        };
        let sum = map.apply(b, site, x, Transform::Abs);
        let z = bias.map_or(sum, |bias| b.plus(sum, bias));
        let s = b.guarded_div(r, z);
        let c = map.transpose(b, site, s, Transform::Abs);
        // `c` is the first factor, so that evaluation reaches `x`, a value of the early layers, late.
        let share = b.mul(c, x);
        let mut operands = vec![None; site.inputs.len()];
        operands[k] = Some(share);
        // Absorbed are the share of the bias, and `r` where nothing contributes (elsewhere `s z = r`).
        let passed = b.mul(s, z);
        let dropped = b.minus(r, passed);
        let mut absorbed = vec![b.total(dropped)];
        if let Some(bias) = bias {
            let shape = b.ty(bias).shape;
            let by_unit = b.sum_to(s, &shape);
            let bias_share = b.mul(by_unit, bias);
            absorbed.push(b.total(bias_share));
        }
        Flow { operands, absorbed }
    }
}

impl fmt::Display for Proportional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.by, self.bias) {
            (Contribution::Magnitude, Bias::Ledger) => "proportional",
            (Contribution::Magnitude, Bias::Redistribute) => "proportional(bias=redistribute)",
            (Contribution::Uniform, _) => "uniform",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{AveragePool, Conv, ConvTranspose, Linear};
    use crate::prim::ConvGeometry;
    use crate::rule::tests::{
        Layer, MAGNITUDE, assert_close, at, close, data, fill, floats, indices, known, quotient, random, tap,
        window,
    };
    use crate::tensor::Array;

    /// Applies the proportional rule to a layer whose weight from element `i` of x to element `j` of y is `w(i, j)`.
    /// Returns the relevance of x and the absorbed relevance.
    fn shares(
        x: &Array,
        r: &Array,
        w: impl Fn(&[usize], &[usize]) -> f64,
        bias: impl Fn(&[usize]) -> f64,
    ) -> (Array, f64) {
        let mut share = vec![0.0; data(x).len()];
        let mut absorbed = 0.0;
        for j in indices(r.dims()) {
            let all: Vec<f64> = indices(x.dims()).iter().map(|i| (w(i, &j) * at(x, i)).abs()).collect();
            let z = all.iter().sum::<f64>() + bias(&j).abs();
            for (sum, c) in share.iter_mut().zip(&all) {
                *sum += quotient(at(r, &j) * c, z);
            }
            absorbed += if z == 0.0 { at(r, &j) } else { at(r, &j) * bias(&j).abs() / z };
        }
        (floats(x.dims(), &share), absorbed)
    }

    #[test]
    fn a_linear_layer_shares_by_magnitude_and_the_bias_keeps_its_share() {
        let (mut x, w, bias) = (random(&[3, 4], 1), random(&[2, 4], 2), random(&[2], 3));
        if let Array::F(x) = &mut x {
            // A row that contributes nothing: the bias alone takes the relevance.
            x.index_axis_mut(ndarray::Axis(0), 1).fill(0.0);
        }
        let r = random(&[3, 2], 4);
        for by in [Contribution::Magnitude, Contribution::Uniform] {
            for policy in [Bias::Ledger, Bias::Redistribute] {
                let layer = Layer::new(
                    Linear { transposed: true },
                    &[&x, &w, &bias],
                    &[true, false, false],
                    Proportional { bias: policy, by },
                );
                let counts = if by == Contribution::Uniform { fill(x.dims(), |_| 1.0) } else { x.clone() };
                let coefficient =
                    |i: &[usize], j: &[usize]| if i[0] == j[0] { at(&w, &[j[1], i[1]]) } else { 0.0 };
                let bias_of = |j: &[usize]| if policy == Bias::Ledger { at(&bias, &[j[1]]) } else { 0.0 };
                let (expected, absorbed) = shares(&counts, &r, coefficient, bias_of);
                let actual = layer.explain(&r);
                let case = format!("{}", layer.rule);
                assert_close(actual.operand(0), &expected, &case);
                close(actual.absorbed, absorbed, &case);
                assert!(actual.operands[1].is_none() && actual.operands[2].is_none(), "{case}");
            }
        }
    }

    #[test]
    fn a_convolution_shares_by_magnitude_over_its_taps() {
        let cases = [
            (window(&[2, 3], &[1, 1], &[0, 0, 0, 0], &[1, 1]), 1),
            (window(&[3, 2], &[2, 1], &[1, 0, 2, 1], &[1, 2]), 1),
            (window(&[2, 2], &[3, 3], &[0, 1, 1, 0], &[1, 1]), 2),
        ];
        for (window, groups) in cases {
            let geometry = ConvGeometry { window, groups };
            let x = random(&[2, 4, 5, 6], 1);
            let w = random(&[2, 4 / groups, geometry.window.kernel[0], geometry.window.kernel[1]], 2);
            let bias = random(&[2], 3);
            let layer = Layer::new(
                Conv { geometry: geometry.clone() },
                &[&x, &w, &bias],
                &[true, false, false],
                MAGNITUDE(),
            );
            let r = random(layer.y().dims(), 4);
            let (expected, absorbed) =
                shares(&x, &r, |i, j| tap(&geometry, &w, i, j), |j| at(&bias, &[j[1]]));
            let actual = layer.explain(&r);
            assert_close(actual.operand(0), &expected, &geometry.to_string());
            close(actual.absorbed, absorbed, &geometry.to_string());
        }
    }

    #[test]
    fn a_transposed_convolution_shares_by_the_taps_the_other_way_round() {
        let cases = [
            (window(&[2, 3], &[2, 1], &[0, 0, 0, 0], &[1, 1]), [6, 6], 1),
            (window(&[3, 2], &[2, 3], &[1, 0, 0, 1], &[1, 1]), [6, 10], 2),
        ];
        for (window, to, groups) in cases {
            let geometry = ConvGeometry { window, groups };
            let x = random(&[2, 4, 3, 4], 1);
            let w = random(&[4, 2 / groups, geometry.window.kernel[0], geometry.window.kernel[1]], 2);
            let bias = random(&[2], 3);
            let op = ConvTranspose { geometry: geometry.clone(), to: known(&to) };
            let layer = Layer::new(op, &[&x, &w, &bias], &[true, false, false], MAGNITUDE());
            let r = random(layer.y().dims(), 4);
            let (expected, absorbed) =
                shares(&x, &r, |i, j| tap(&geometry, &w, j, i), |j| at(&bias, &[j[1]]));
            let actual = layer.explain(&r);
            assert_close(actual.operand(0), &expected, &geometry.to_string());
            close(actual.absorbed, absorbed, &geometry.to_string());
        }
    }

    #[test]
    fn an_average_pool_shares_by_magnitude_or_equally_within_each_window() {
        let pool = window(&[2, 2], &[2, 2], &[1, 0, 0, 1], &[1, 1]);
        let x = random(&[2, 2, 5, 4], 1);
        let reaches = |i: &[usize], j: &[usize]| {
            let inside = |axis: usize| {
                let begin = (j[axis] * 2) as i64 - pool.before[axis - 2] as i64;
                (begin..begin + 2).contains(&(i[axis] as i64))
            };
            f64::from(u8::from(i[..2] == j[..2] && inside(2) && inside(3)))
        };
        for by in [Contribution::Magnitude, Contribution::Uniform] {
            let op = AveragePool { window: pool.clone(), count_include_pad: true };
            let layer = Layer::new(op, &[&x], &[true], Proportional { by, ..Proportional::default() });
            let r = random(layer.y().dims(), 2);
            let counts = if by == Contribution::Uniform { fill(x.dims(), |_| 1.0) } else { x.clone() };
            let (expected, absorbed) = shares(&counts, &r, reaches, |_| 0.0);
            let actual = layer.explain(&r);
            assert_close(actual.operand(0), &expected, &format!("{by:?}"));
            close(actual.absorbed, absorbed, &format!("{by:?}"));
        }
    }
}
