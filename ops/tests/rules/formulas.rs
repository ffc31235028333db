//! Each rule on small layers, against direct loops.

use dlbc_ops::op::{
    Activation, Add, AveragePool, Conv, ConvTranspose, Div, Extremum, Function, Gather, Linear, MatMul,
    MaxPool, Mul, Pad, Reduce, ReduceKind, Sub,
};
use dlbc_ops::prim::{ConvGeometry, PadMode, Unary, Window};
use dlbc_ops::rule::{
    Bias, Bilinear, Constants, Contribution, Gates, Pass, Product, Proportional, Route, Rule, Sum, Token,
};
use dlbc_ops::tensor::Array;

use super::{Layer, assert_close, at, close, data, fill, floats, indices, ints, known, random, total};

pub fn proportional(bias: Bias, by: Contribution) -> Rule {
    Rule::from(Proportional { bias, by })
}

pub const MAGNITUDE: fn() -> Rule = || proportional(Bias::Ledger, Contribution::Magnitude);

pub fn window(kernel: &[usize], strides: &[usize], pads: &[usize], dilations: &[usize]) -> Window {
    let (before, after) = pads.split_at(kernel.len());
    Window {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        before: before.to_vec(),
        after: after.to_vec(),
        dilations: dilations.to_vec(),
        ceil: false,
    }
}

/// `a / b`, 0 where `b` is 0.
fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// The proportional rule of a layer whose coefficient from element `i` of x to element `j` of y is `w(i, j)`:
/// the share of x, and what is absorbed.
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
        for (own, c) in share.iter_mut().zip(&all) {
            *own += quotient(at(r, &j) * c, z);
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
        x.row_mut_zero(1);
    }
    let r = random(&[3, 2], 4);
    for by in [Contribution::Magnitude, Contribution::Uniform] {
        for policy in [Bias::Ledger, Bias::Redistribute] {
            let layer = Layer::new(
                Linear { transposed: true },
                &[&x, &w, &bias],
                &[true, false, false],
                proportional(policy, by),
            );
            let counts = if by == Contribution::Uniform { fill(x.dims(), |_| 1.0) } else { x.clone() };
            let coefficient =
                |i: &[usize], j: &[usize]| if i[0] == j[0] { at(&w, &[j[1], i[1]]) } else { 0.0 };
            let own = |j: &[usize]| if policy == Bias::Ledger { at(&bias, &[j[1]]) } else { 0.0 };
            let (expected, absorbed) = shares(&counts, &r, coefficient, own);
            let found = layer.explain(&r);
            let what = format!("{}", layer.rule);
            assert_close(found.of(0), &expected, &what);
            close(found.absorbed, absorbed, &what);
            assert!(found.operands[1].is_none() && found.operands[2].is_none(), "{what}");
        }
    }
}

/// A matrix whose row is set to zero in place.
trait RowZero {
    fn row_mut_zero(&mut self, row: usize);
}

impl RowZero for ndarray::ArrayD<f64> {
    fn row_mut_zero(&mut self, row: usize) {
        self.index_axis_mut(ndarray::Axis(0), row).fill(0.0);
    }
}

/// The coefficient of a convolution from `[n, c, i, j]` to `[n, o, k, l]`.
pub fn tap(g: &ConvGeometry, w: &Array, i: &[usize], j: &[usize]) -> f64 {
    let (outputs, per_group) = (w.dims()[0] / g.groups, w.dims()[1]);
    if i[0] != j[0] || i[1] / per_group != j[1] / outputs {
        return 0.0;
    }
    let mut index = vec![j[1], i[1] % per_group];
    for axis in 0..g.window.rank() {
        let w = &g.window;
        let reach = (i[axis + 2] + w.before[axis]) as i64 - (j[axis + 2] * w.strides[axis]) as i64;
        let (tap, rest) = (reach / w.dilations[axis] as i64, reach % w.dilations[axis] as i64);
        if reach < 0 || rest != 0 || tap >= w.kernel[axis] as i64 {
            return 0.0;
        }
        index.push(tap as usize);
    }
    at(w, &index)
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
        let (expected, absorbed) = shares(&x, &r, |i, j| tap(&geometry, &w, i, j), |j| at(&bias, &[j[1]]));
        let found = layer.explain(&r);
        assert_close(found.of(0), &expected, &geometry.to_string());
        close(found.absorbed, absorbed, &geometry.to_string());
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
        let (expected, absorbed) = shares(&x, &r, |i, j| tap(&geometry, &w, j, i), |j| at(&bias, &[j[1]]));
        let found = layer.explain(&r);
        assert_close(found.of(0), &expected, &geometry.to_string());
        close(found.absorbed, absorbed, &geometry.to_string());
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
        let layer = Layer::new(op, &[&x], &[true], proportional(Bias::Ledger, by));
        let r = random(layer.y().dims(), 2);
        let counts = if by == Contribution::Uniform { fill(x.dims(), |_| 1.0) } else { x.clone() };
        let (expected, absorbed) = shares(&counts, &r, reaches, |_| 0.0);
        let found = layer.explain(&r);
        assert_close(found.of(0), &expected, &format!("{by:?}"));
        close(found.absorbed, absorbed, &format!("{by:?}"));
    }
}

#[test]
fn a_product_of_two_live_matrices_gives_half_to_each_side_by_magnitude() {
    let (x, y) = (random(&[2, 3, 4], 1), random(&[2, 4, 2], 2));
    let r = random(&[2, 3, 2], 3);
    let z = |b: usize, i: usize, j: usize| {
        (0..4).map(|k| (at(&x, &[b, i, k]) * at(&y, &[b, k, j])).abs()).sum::<f64>()
    };
    let share = |b: usize, i: usize, k: usize, j: usize| {
        0.5 * at(&r, &[b, i, j]) * (at(&x, &[b, i, k]) * at(&y, &[b, k, j])).abs() / z(b, i, j)
    };
    let found = Layer::new(MatMul, &[&x, &y], &[true, true], Rule::from(Bilinear {})).explain(&r);
    let left = fill(x.dims(), |n| (0..2).map(|j| share(n[0], n[1], n[2], j)).sum());
    let right = fill(y.dims(), |n| (0..3).map(|i| share(n[0], i, n[1], n[2])).sum());
    assert_close(found.of(0), &left, "left");
    assert_close(found.of(1), &right, "right");
    close(found.absorbed, 0.0, "absorbed");
}

#[test]
fn a_sum_shares_by_magnitude_and_undoes_broadcasting() {
    let (x, mut y) = (random(&[2, 3], 1), random(&[1, 3], 2));
    let r = random(&[2, 3], 3);
    // A position where both are 0: nobody takes the relevance.
    let mut x0 = data(&x);
    let mut y0 = data(&y);
    (x0[1], y0[1]) = (0.0, 0.0);
    let x = floats(&[2, 3], &x0);
    y = floats(y.dims(), &y0);
    let rule = |by, constants| Rule::from(Sum { by, constants });
    let share = |own: f64, other: f64| quotient(own.abs(), own.abs() + other.abs());
    for subtract in [false, true] {
        let by = rule(Contribution::Magnitude, Constants::Data);
        let layer = if subtract {
            Layer::new(Sub, &[&x, &y], &[true, true], by)
        } else {
            Layer::new(Add, &[&x, &y], &[true, true], by)
        };
        let found = layer.explain(&r);
        let left = fill(&[2, 3], |n| at(&r, n) * share(at(&x, n), at(&y, &[0, n[1]])));
        let right = fill(&[1, 3], |n| {
            (0..2).map(|i| at(&r, &[i, n[1]]) * share(at(&y, n), at(&x, &[i, n[1]]))).sum()
        });
        assert_close(found.of(0), &left, "left");
        assert_close(found.of(1), &right, "right");
        close(found.absorbed, at(&r, &[0, 1]), "absorbed");
    }

    let halves =
        Layer::new(Add, &[&x, &y], &[true, true], rule(Contribution::Uniform, Constants::Data)).explain(&r);
    assert_close(halves.of(0), &fill(&[2, 3], |n| at(&r, n) / 2.0), "half");
    assert_close(halves.of(1), &fill(&[1, 3], |n| (0..2).map(|i| at(&r, &[i, n[1]]) / 2.0).sum()), "half");

    let live = [true, false];
    let all = Layer::new(Add, &[&x, &y], &live, rule(Contribution::Magnitude, Constants::Data)).explain(&r);
    assert_close(all.of(0), &r, "a constant takes no part");
    assert!(all.operands[1].is_none());
    let kept =
        Layer::new(Add, &[&x, &y], &live, rule(Contribution::Magnitude, Constants::Ledger)).explain(&r);
    let left = fill(&[2, 3], |n| at(&r, n) * share(at(&x, n), at(&y, &[0, n[1]])));
    assert_close(kept.of(0), &left, "a constant keeps its share");
    assert!(kept.operands[1].is_none());
    close(kept.absorbed, total(&r) - total(&left), "the constant's share is absorbed");
}

#[test]
fn a_product_shares_as_told_and_undoes_broadcasting() {
    let (x, y) = (random(&[2, 3], 1), random(&[3], 2));
    let r = random(&[2, 3], 3);
    let layer = |shares: &[f32]| {
        let rule = Rule::from(Product { gates: Gates::Share, shares: shares.to_vec() });
        Layer::new(Mul, &[&x, &y], &[true, true], rule).explain(&r)
    };
    let by_column = |f: f64| fill(&[3], |n| (0..2).map(|i| f * at(&r, &[i, n[0]])).sum());
    let halves = layer(&[0.5, 0.5]);
    assert_close(halves.of(0), &fill(&[2, 3], |n| at(&r, n) / 2.0), "half");
    assert_close(halves.of(1), &by_column(0.5), "half, summed");
    let gate = layer(&[0.0, 1.0]);
    assert!(gate.operands[0].is_none());
    assert_close(gate.of(1), &by_column(1.0), "all");
}

#[test]
fn elementwise_functions_and_scaled_operands_pass_all_on() {
    let x = random(&[2, 3], 1);
    let r = random(&[2, 3], 2);
    let tanh = Activation { f: Function::Unary(Unary::Tanh) };
    assert_close(Layer::new(tanh, &[&x], &[true], Rule::from(Pass {})).explain(&r).of(0), &r, "tanh");
    let row = random(&[3], 3);
    let found = Layer::new(Div, &[&row, &x], &[true, false], Rule::from(Pass {})).explain(&r);
    assert_close(
        found.of(0),
        &fill(&[3], |n| at(&r, &[0, n[0]]) + at(&r, &[1, n[0]])),
        "a broadcast numerator",
    );
    assert!(found.operands[1].is_none());
}

#[test]
fn the_greatest_takes_all_and_ties_share_equally() {
    let x = floats(&[1, 1, 2, 4], &[1.0, 3.0, 0.0, 2.0, 3.0, 2.0, 5.0, 5.0]);
    let r = floats(&[1, 1, 1, 2], &[8.0, 6.0]);
    let op = MaxPool { window: window(&[2, 2], &[2, 2], &[0; 4], &[1, 1]) };
    let found = Layer::new(op, &[&x], &[true], Rule::from(Route {})).explain(&r);
    let expected = floats(x.dims(), &[0.0, 4.0, 0.0, 0.0, 4.0, 0.0, 3.0, 3.0]);
    assert_close(found.of(0), &expected, "max pool");

    let (a, b) = (floats(&[2, 2], &[1.0, 5.0, 2.0, -1.0]), floats(&[2], &[1.0, 3.0]));
    let r = floats(&[2, 2], &[4.0, 6.0, 8.0, 10.0]);
    let found =
        Layer::new(Extremum { max: true }, &[&a, &b], &[true, true], Rule::from(Route {})).explain(&r);
    assert_close(found.of(0), &floats(&[2, 2], &[2.0, 6.0, 8.0, 0.0]), "left of a maximum");
    assert_close(found.of(1), &floats(&[2], &[2.0, 10.0]), "right of a maximum");

    let reduce = |kind| Reduce { kind, axes: vec![1], keep: false };
    let r = floats(&[2], &[6.0, 4.0]);
    let x = floats(&[2, 3], &[2.0, 2.0, -1.0, 0.0, 1.0, -3.0]);
    let of = |kind| Layer::new(reduce(kind), &[&x], &[true], Rule::from(Route {})).explain(&r).of(0).clone();
    assert_close(&of(ReduceKind::Max), &floats(&[2, 3], &[3.0, 3.0, 0.0, 0.0, 4.0, 0.0]), "reduced maximum");
    assert_close(&of(ReduceKind::Min), &floats(&[2, 3], &[0.0, 0.0, 6.0, 0.0, 0.0, 4.0]), "reduced minimum");
    assert_close(&of(ReduceKind::Prod), &fill(&[2, 3], |n| at(&r, &n[..1]) / 3.0), "reduced product");
    let softmax = |n: &[usize]| at(&x, n).exp() / (0..3).map(|k| at(&x, &[n[0], k]).exp()).sum::<f64>();
    let smooth = fill(&[2, 3], |n| at(&r, &n[..1]) * softmax(n));
    assert_close(&of(ReduceKind::LogSumExp), &smooth, "smooth maximum");
}

#[test]
fn data_movement_goes_the_way_back() {
    let x = random(&[2, 3], 1);
    let ids = ints(&[4], &[2, 0, -1, 2]);
    let r = random(&[2, 4], 2);
    let found = Layer::new(Gather { axis: 1 }, &[&x, &ids], &[true, false], Rule::from(Route {})).explain(&r);
    let expected = fill(&[2, 3], |n| {
        [2, 0, 2, 2].iter().enumerate().filter(|(_, id)| **id == n[1]).map(|(k, _)| at(&r, &[n[0], k])).sum()
    });
    assert_close(found.of(0), &expected, "gather");
    close(found.absorbed, 0.0, "gather absorbs nothing");

    let op = Pad { before: known(&[0, 1]), after: known(&[1, 0]), mode: PadMode::Constant(7.0) };
    let r = random(&[3, 4], 3);
    let found = Layer::new(op, &[&x], &[true], Rule::from(Route {})).explain(&r);
    assert_close(found.of(0), &fill(&[2, 3], |n| at(&r, &[n[0], n[1] + 1])), "pad");
    close(found.absorbed, total(&r) - total(found.of(0)), "what lay on the pads is absorbed");

    let table = random(&[5, 2], 4);
    let ids = ints(&[2, 3], &[0, 4, 1, 1, 2, 0]);
    let r = random(&[2, 3, 2], 5);
    let found =
        Layer::new(Gather { axis: 0 }, &[&table, &ids], &[false, true], Rule::from(Token {})).explain(&r);
    assert!(found.operands[0].is_none());
    let expected = fill(&[2, 3], |n| at(&r, &[n[0], n[1], 0]) + at(&r, &[n[0], n[1], 1]));
    assert_close(found.of(1), &expected, "tokens");
}
