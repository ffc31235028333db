//! Saturation against loops over single contributions.

use dlbc_ops::op::{Conv, Linear, Mul};
use dlbc_ops::prim::ConvGeometry;
use dlbc_ops::rule::{Bounds, Decided, ProductByValue, Rule, Saturated};
use dlbc_ops::tensor::Array;

use super::formulas::{MAGNITUDE, tap, window};
use super::{Layer, assert_close, at, close, data, fill, floats, indices, random};

fn swish(slope: f64, x: f64) -> f64 {
    x / (1.0 + (-slope * x).exp())
}

/// Which sides of a unit stay: as the table of activations says, case by case.
fn kept(rule: &Saturated, p: f64, n: f64, net: f64, bias: f64) -> (bool, bool) {
    let decided = if rule.by == Decided::Net { net } else { p + n };
    let (lower, upper) = (rule.bounds.lower.map(f64::from), rule.bounds.upper.map(f64::from));
    let (mut positive, mut negative) = match rule.by {
        Decided::Net => (lower.is_none_or(|l| decided >= l), upper.is_none_or(|u| decided <= u)),
        Decided::Magnitude => (lower.is_none_or(|l| decided > l), upper.is_none_or(|u| decided < u)),
    };
    if let Some(slope) = rule.bounds.swish.map(f64::from) {
        let same =
            |other: f64| (swish(slope, decided) - swish(slope, other)).abs() <= f64::from(rule.tolerance);
        let (without_negative, without_positive) = (same(p + bias.max(0.0)), same(-(n + (-bias).max(0.0))));
        match rule.by {
            Decided::Net if p > 0.0 && n > 0.0 => {
                if without_negative {
                    negative = false;
                } else if without_positive {
                    positive = false;
                }
            }
            Decided::Net => {}
            Decided::Magnitude => {
                negative &= !without_negative;
                positive &= !without_positive;
            }
        }
    }
    (positive, negative)
}

/// The share of x and what is absorbed; `w(i, j)` is the coefficient from element `i` of x to element `j` of y.
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
        let (positive, negative) = kept(rule, p, n, at(y, &j), bias(&j));
        let own = if positive { p } else { 0.0 } + if negative { n } else { 0.0 };
        let z = if rule.by == Decided::Net { own } else { p + n } + bias(&j).abs();
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
    let bounded =
        |lower, upper, swish| Saturated { bounds: Bounds { lower, upper, swish }, ..Saturated::default() };
    let net = |lower, upper| bounded(lower, upper, None);
    vec![
        net(Some(0.0), None),
        net(Some(-0.4), Some(0.4)),
        net(None, None),
        bounded(Some(-0.6), None, Some(1.0)),
        // So wide a tolerance that sides are dropped on both grounds.
        Saturated { tolerance: 0.2, ..bounded(Some(-2.0), None, Some(1.0)) },
        Saturated { by: Decided::Magnitude, ..net(Some(1.5), Some(3.0)) },
        Saturated { by: Decided::Magnitude, tolerance: 0.3, ..bounded(Some(0.5), None, Some(0.75)) },
    ]
}

#[test]
fn a_linear_layer_gives_nothing_to_a_side_that_its_activation_does_not_see() {
    let (x, w, bias) = (random(&[6, 5], 1), random(&[7, 5], 2), random(&[7], 3));
    // A row without contributions, and a unit of one sign.
    let x = fill(x.dims(), |i| if i[0] == 4 { 0.0 } else { at(&x, i) });
    let mut dropped = 0;
    for rule in rules() {
        let layer = Layer::new(
            Linear { transposed: true },
            &[&x, &w, &bias],
            &[true, false, false],
            Rule::Saturated(rule),
        );
        let y = layer.y();
        let r = random(y.dims(), 4);
        let coefficient = |i: &[usize], j: &[usize]| if i[0] == j[0] { at(&w, &[j[1], i[1]]) } else { 0.0 };
        let (share, absorbed) = expected(&rule, &x, &y, &r, coefficient, |j| at(&bias, &[j[1]]));
        let found = layer.explain(&r);
        assert_close(found.of(0), &share, &rule.to_string());
        close(found.absorbed, absorbed, &rule.to_string());
        let plain =
            Layer::new(Linear { transposed: true }, &[&x, &w, &bias], &[true, false, false], MAGNITUDE());
        dropped += usize::from(data(plain.explain(&r).of(0)) != data(found.of(0)));
    }
    assert!(dropped >= 6, "the bounds matter in these layers: {dropped}");
}

#[test]
fn a_convolution_does_so_too() {
    let geometry = ConvGeometry { window: window(&[3, 2], &[2, 1], &[1, 0, 2, 1], &[1, 2]), groups: 2 };
    let (x, w, bias) = (random(&[2, 4, 5, 6], 1), random(&[4, 2, 3, 2], 2), random(&[4], 3));
    for rule in rules() {
        let op = Conv { geometry: geometry.clone() };
        let layer = Layer::new(op, &[&x, &w, &bias], &[true, false, false], Rule::Saturated(rule));
        let y = layer.y();
        let r = random(y.dims(), 4);
        let (share, absorbed) =
            expected(&rule, &x, &y, &r, |i, j| tap(&geometry, &w, i, j), |j| at(&bias, &[j[1]]));
        let found = layer.explain(&r);
        assert_close(found.of(0), &share, &rule.to_string());
        close(found.absorbed, absorbed, &rule.to_string());
    }
}

#[test]
fn a_factor_near_one_gets_little() {
    let (a, b) = (floats(&[1, 3], &[1.0, 0.5, 0.0]), floats(&[1, 3], &[4.0, 0.25, 0.0]));
    let layer = Layer::new(Mul, &[&a, &b], &[true, true], Rule::from(ProductByValue {}));
    let r = floats(&[1, 3], &[2.0, 1.0, 3.0]);
    let found = layer.explain(&r);
    // |ab - a|: 3, 0.375, 0; |ab - b|: 0, 0.125, 0.
    assert_close(found.of(0), &floats(&[1, 3], &[2.0, 0.75, 0.0]), "left");
    assert_close(found.of(1), &floats(&[1, 3], &[0.0, 0.25, 0.0]), "right");
    close(found.absorbed, 3.0, "both distances are 0");
}
