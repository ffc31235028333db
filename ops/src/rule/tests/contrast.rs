//! Contrastive mode, compared with loops over single contributions, and properties of every rule that couples the
//! tracks.

use crate::op::{Add, Attention, AveragePool, Conv, Linear, MatMul, Mul, Sub};
use crate::prim::{AttentionGeometry, ConvGeometry};
use crate::rule::{Argument, Bilinear, Constants, Contribution, ProductByValue, Proportional, Rule, Sum};
use crate::tensor::Array;

use super::{
    Layer, MAGNITUDE, assert_close, at, close, data, fill, floats, indices, random, tap, total, window,
};

const BY_MAGNITUDE: Rule = Rule::Sum(Sum { by: Contribution::Magnitude, constants: Constants::Data });

/// Returns the shares of the contributions `c` of a unit with result `net` on both tracks, and the relevance that they
/// leave.
fn unit(c: &[f64], net: f64, r: [f64; 2]) -> ([Vec<f64>; 2], [f64; 2]) {
    let p: f64 = c.iter().map(|c| c.max(0.0)).sum();
    let n: f64 = c.iter().map(|c| (-c).max(0.0)).sum();
    let even = p == 0.0 || n == 0.0 || net == 0.0 || r[0] == r[1];
    let straight = (net > 0.0) == (r[0] > r[1]);
    // The contributions that take a track: the positive ones, the negative ones, or all.
    let shares = |r: f64, positive: bool| -> Vec<f64> {
        c.iter()
            .map(|c| match (even, positive) {
                (true, _) if p + n == 0.0 => 0.0,
                (true, _) => r * c.abs() / (p + n),
                (false, true) => r * c.max(0.0) / p,
                (false, false) => r * (-c).max(0.0) / n,
            })
            .collect()
    };
    let left = if p + n == 0.0 { r } else { [0.0; 2] };
    ([shares(r[0], straight), shares(r[1], !straight)], left)
}

/// Returns the relevance of `x` and the absorbed relevance on both tracks; `w(i, j)` is the weight from element `i` of
/// x to element `j` of y.
fn expected(
    x: &Array,
    y: &Array,
    r: [&Array; 2],
    w: impl Fn(&[usize], &[usize]) -> f64,
) -> [(Array, f64); 2] {
    let mut shares = [vec![0.0; data(x).len()], vec![0.0; data(x).len()]];
    let mut absorbed = [0.0; 2];
    for j in indices(y.dims()) {
        let c: Vec<f64> = indices(x.dims()).iter().map(|i| w(i, &j) * at(x, i)).collect();
        let (unit_shares, left) = unit(&c, at(y, &j), [at(r[0], &j), at(r[1], &j)]);
        for track in 0..2 {
            shares[track].iter_mut().zip(&unit_shares[track]).for_each(|(s, v)| *s += v);
            absorbed[track] += left[track];
        }
    }
    let [a, b] = shares;
    [(floats(x.dims(), &a), absorbed[0]), (floats(x.dims(), &b), absorbed[1])]
}

/// Returns supporting and opposing relevance ≥ 0, equal at every third position.
fn seeds(dims: &[usize], seed: u64) -> [Array; 2] {
    let (a, b) = (random(dims, seed), random(dims, seed + 1));
    let positive = |x: &Array| data(x).iter().map(|v| v.abs()).collect::<Vec<_>>();
    let supporting = positive(&a);
    let mut opposing = positive(&b);
    for i in (0..opposing.len()).step_by(3) {
        opposing[i] = supporting[i];
    }
    [floats(dims, &supporting), floats(dims, &opposing)]
}

fn check(layer: &Layer, r: &[Array; 2], expected: [(Array, f64); 2], case: &str) {
    let actual = layer.contrast(&r[0], &r[1]);
    for (track, (share, absorbed)) in actual.iter().zip(expected) {
        assert_close(track.operand(0), &share, case);
        close(track.absorbed, absorbed, case);
    }
}

#[test]
fn a_linear_layer_explains_the_stronger_track_by_the_side_of_its_sign() {
    for (seed, signed) in [(1, true), (5, false)] {
        let mut x = random(&[4, 6], seed);
        if !signed {
            // Like the result of a Relu, with a row of zeros.
            x = fill(x.dims(), |i| if i[0] == 2 { 0.0 } else { at(&x, i).max(0.0) });
        }
        let (w, bias) = (random(&[5, 6], seed + 1), random(&[5], seed + 2));
        // One unit has only positive weights.
        let w = fill(w.dims(), |i| if i[0] == 3 { at(&w, i).abs() } else { at(&w, i) });
        let layer =
            Layer::new(Linear { transposed: true }, &[&x, &w, &bias], &[true, false, false], MAGNITUDE());
        let y = layer.y();
        let r = seeds(y.dims(), seed + 3);
        let requested =
            expected(&x, &y, [&r[0], &r[1]], |i, j| if i[0] == j[0] { at(&w, &[j[1], i[1]]) } else { 0.0 });
        check(&layer, &r, requested, "linear");
    }
}

#[test]
fn at_the_seed_the_stronger_track_is_explained_by_positive_contributions() {
    let (x, w) = (
        floats(&[1, 3], &[1.0, 1.0, 1.0]),
        floats(&[3, 3], &[2.0, -1.0, -4.0, 2.0, -1.0, -4.0, 2.0, 1.0, 1.0]),
    );
    let rule = MAGNITUDE();
    let mut layer = Layer::new(Linear { transposed: true }, &[&x, &w], &[true, false], rule);
    layer.argument = Argument::Larger;
    // Both sums are negative; a unit that supports and opposes itself, and a rival; a unit without negative contributions.
    let (supporting, opposing) = (floats(&[1, 3], &[100.0, 0.0, 8.0]), floats(&[1, 3], &[100.0, 50.0, 8.0]));
    let [up, down] = layer.contrast(&supporting, &opposing);
    assert_close(up.operand(0), &floats(&[1, 3], &[100.0 + 4.0, 2.0, 2.0]), "supporting");
    assert_close(down.operand(0), &floats(&[1, 3], &[50.0, 20.0, 80.0]), "opposing");
    close(up.absorbed, 0.0, "supporting");
    close(down.absorbed, 8.0, "opposing");
}

#[test]
fn a_convolution_couples_the_tracks_over_its_taps() {
    for (window, groups) in [
        (window(&[2, 3], &[1, 1], &[0, 0, 0, 0], &[1, 1]), 1),
        (window(&[3, 2], &[2, 1], &[1, 0, 2, 1], &[1, 2]), 2),
    ] {
        let geometry = ConvGeometry { window, groups };
        let x = random(&[2, 4, 5, 6], 1);
        let w = random(&[2, 4 / groups, geometry.window.kernel[0], geometry.window.kernel[1]], 2);
        let bias = random(&[2], 3);
        let op = Conv { geometry: geometry.clone() };
        let layer = Layer::new(op, &[&x, &w, &bias], &[true, false, false], MAGNITUDE());
        let y = layer.y();
        let r = seeds(y.dims(), 4);
        let requested = expected(&x, &y, [&r[0], &r[1]], |i, j| tap(&geometry, &w, i, j));
        check(&layer, &r, requested, &geometry.to_string());
    }
}

#[test]
fn a_mean_and_a_sum_count_each_element_with_its_sign() {
    let x = random(&[2, 3, 4, 4], 1);
    let pool =
        AveragePool { window: window(&[2, 2], &[2, 2], &[0, 0, 0, 0], &[1, 1]), count_include_pad: false };
    let layer = Layer::new(pool, &[&x], &[true], MAGNITUDE());
    let y = layer.y();
    let r = seeds(y.dims(), 2);
    let requested = expected(&x, &y, [&r[0], &r[1]], |i, j| {
        let same = i[..2] == j[..2] && i[2] / 2 == j[2] && i[3] / 2 == j[3];
        if same { 0.25 } else { 0.0 }
    });
    check(&layer, &r, requested, "mean");

    let (a, b) = (random(&[3, 4], 5), random(&[3, 4], 6));
    for subtracts in [false, true] {
        let layer = match subtracts {
            false => Layer::new(Add, &[&a, &b], &[true, true], BY_MAGNITUDE),
            true => Layer::new(Sub, &[&a, &b], &[true, true], BY_MAGNITUDE),
        };
        let y = layer.y();
        let r = seeds(y.dims(), 7);
        let actual = layer.contrast(&r[0], &r[1]);
        for i in indices(y.dims()) {
            let c = [at(&a, &i), if subtracts { -at(&b, &i) } else { at(&b, &i) }];
            let (shares, _) = unit(&c, at(&y, &i), [at(&r[0], &i), at(&r[1], &i)]);
            for (actual, shares) in actual.iter().zip(&shares) {
                for (k, share) in shares.iter().enumerate() {
                    close(at(actual.operand(k), &i), *share, "sum");
                }
            }
        }
    }
}

#[test]
fn a_product_of_two_operands_shares_each_contribution_in_halves() {
    let (a, b) = (random(&[2, 3], 1), random(&[3, 4], 2));
    let layer = Layer::new(MatMul, &[&a, &b], &[true, true], Rule::from(Bilinear {}));
    let y = layer.y();
    let r = seeds(y.dims(), 3);
    let actual = layer.contrast(&r[0], &r[1]);
    let mut left = [vec![0.0; 6], vec![0.0; 6]];
    let mut right = [vec![0.0; 12], vec![0.0; 12]];
    for j in indices(y.dims()) {
        let c: Vec<f64> = (0..3).map(|k| at(&a, &[j[0], k]) * at(&b, &[k, j[1]])).collect();
        let (shares, _) = unit(&c, at(&y, &j), [at(&r[0], &j), at(&r[1], &j)]);
        for track in 0..2 {
            for (k, share) in shares[track].iter().enumerate() {
                left[track][j[0] * 3 + k] += share / 2.0;
                right[track][k * 4 + j[1]] += share / 2.0;
            }
        }
    }
    for track in 0..2 {
        assert_close(actual[track].operand(0), &floats(&[2, 3], &left[track]), "left");
        assert_close(actual[track].operand(1), &floats(&[3, 4], &right[track]), "right");
    }
}

#[test]
fn both_tracks_close_and_stay_non_negative() {
    let rows = random(&[3, 4], 1);
    let other = random(&[3, 4], 2);
    let heads = |seed| random(&[1, 2, 3, 4], seed);
    let (q, k, v) = (heads(3), heads(4), heads(5));
    let attention = |value| crate::rule::Attention { value };
    let scaled = Attention { geometry: AttentionGeometry { scale: 0.5, guard: false } };
    let layer = [true, false, false];
    let dense = [&rows, &random(&[4, 3], 6), &random(&[3], 7)];
    let layers = [
        Layer::new(Linear { transposed: false }, &dense, &layer, MAGNITUDE()),
        Layer::new(
            Linear { transposed: false },
            &dense,
            &layer,
            Proportional { by: Contribution::Uniform, ..Proportional::default() },
        ),
        Layer::new(Add, &[&rows, &random(&[4], 8)], &[true, true], BY_MAGNITUDE),
        Layer::new(
            Add,
            &[&rows, &random(&[4], 8)],
            &[true, false],
            Rule::from(Sum { by: Contribution::Magnitude, constants: Constants::Ledger }),
        ),
        Layer::new(Mul, &[&rows, &other], &[true, true], Rule::from(ProductByValue {})),
        Layer::new(Mul, &[&rows, &random(&[3, 1], 9)], &[true, true], Rule::from(ProductByValue {})),
        Layer::new(
            MatMul,
            &[&q, &fill(&[1, 2, 4, 3], |i| at(&k, &[i[0], i[1], i[3], i[2]]))],
            &[true, true],
            Rule::from(Bilinear {}),
        ),
        Layer::new(scaled.clone(), &[&q, &k, &v], &[true, true, true], attention(0.5)),
        Layer::new(scaled, &[&q, &k, &v], &[true, true, true], attention(1.0)),
    ];
    for layer in layers {
        let case = format!("{} with {}", layer.op.title(), layer.rule);
        let r = seeds(layer.y().dims(), 10);
        for (track, r) in layer.contrast(&r[0], &r[1]).iter().zip(&r) {
            let live = track.operands.iter().zip(&layer.live).filter(|(_, live)| **live);
            let passed: f64 = live.filter_map(|(v, _)| v.as_ref()).map(total).sum();
            close(passed + track.absorbed, total(r), &case);
            for share in track.operands.iter().flatten() {
                assert!(data(share).iter().all(|v| *v >= 0.0), "{case}");
            }
        }
    }
}
