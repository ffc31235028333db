//! Products on the interpreted device: epilogues, slices of the depth, and the error of each precision.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_backend::ReferenceBackend;
use dlbc_cuda::{Math, Precision};
use dlbc_ops::graph::Value;
use dlbc_ops::prim::{self, Binary, Builder, ConvGeometry, Prim, Transform, Unary, Window};
use dlbc_ops::tensor::{Dim, Shape, Tensor};

fn product(g: &mut Builder, a: Value, b: Value) -> Value {
    g.add(prim::MatMul { a: Transform::Id, b: Transform::Abs, ta: false, tb: false }, &[a, b])
}

fn binary(g: &mut Builder, f: Binary, a: Value, b: Value) -> Value {
    g.add(Prim::Binary(f), &[a, b])
}

fn unary(g: &mut Builder, f: Unary, a: Value) -> Value {
    g.add(Prim::Unary(f), &[a])
}

/// Windows of 3 by 3 that preserve dimensions.
fn three_by_three() -> ConvGeometry {
    let window = Window { before: vec![1, 1], after: vec![1, 1], ..Window::unit(&[3, 3]) };
    ConvGeometry { window, groups: 1 }
}

#[test]
fn elementwise_steps_join_the_kernel_of_a_product() {
    let mut r = Random::new(1);
    // Tiles of every kind, a single element, and an empty sum.
    for (m, n, k) in [(5, 40, 9), (70, 66, 40), (1, 1, 1), (20, 3, 0)] {
        let [a, b] = [r.floats(&[m, k]), r.floats(&[k, n])];
        let [row, column, full, scalar] = [&[m, 1][..], &[n], &[m, n], &[1]].map(|dims| r.floats(dims));
        let name = |expression: &str| format!("{expression} of {m}x{n}x{k}");
        let inputs = [a.clone(), b.clone(), column.clone(), full.clone()];
        check(&name("quotient"), &inputs, 1e-4, |g, v| {
            let (z, bias) = (product(g, v[0], v[1]), unary(g, Unary::Abs, v[2]));
            let z = unary(g, Unary::Abs, z);
            let z = binary(g, Binary::Add, z, bias);
            binary(g, Binary::GuardedDiv, v[3], z)
        });
        let inputs = [a.clone(), b.clone(), row, scalar, full.clone()];
        check(&name("share"), &inputs, 1e-5, |g, v| {
            let c = product(g, v[0], v[1]);
            let c = binary(g, Binary::Sub, v[2], c);
            let c = binary(g, Binary::Mul, c, v[3]);
            let size = unary(g, Unary::Abs, v[4]);
            binary(g, Binary::Mul, c, size)
        });
        let inputs = [a.clone(), b.clone(), full.clone()];
        check(&name("choice"), &inputs, 1e-5, |g, v| {
            let c = product(g, v[0], v[1]);
            let below = binary(g, Binary::Less, v[2], c);
            let clipped = unary(g, Unary::Clip { min: Some(-1.0), max: Some(2.0) }, v[2]);
            let negative = unary(g, Unary::Neg, v[2]);
            g.add(Prim::Select, &[below, clipped, negative])
        });
        // Of two products, one is deferred and the other is stored.
        let inputs = [a.clone(), b.clone(), b.clone()];
        check(&name("sum"), &inputs, 1e-5, |g, v| {
            let [first, second] = [v[1], v[2]].map(|b| product(g, v[0], b));
            binary(g, Binary::Sub, first, second)
        });
        // A function that epilogues do not support, and a product with several readers.
        check(&name("function"), &[a.clone(), b.clone()], 1e-5, |g, v| {
            let c = product(g, v[0], v[1]);
            let twice = binary(g, Binary::Add, c, c);
            let f = unary(g, Unary::Tanh, twice);
            binary(g, Binary::Mul, f, c)
        });
        // An epilogue on the reshaped product, whose operands have the new dimensions.
        let bias = r.floats(&[n]);
        check(&name("reshaped"), &[a, b, bias, full], 1e-5, |g, v| {
            let c = product(g, v[0], v[1]);
            let to = |dims: &[usize]| Shape(dims.iter().map(|d| Dim::known(*d as i64)).collect());
            let c = g.add(prim::Reshape { to: to(&[1, m, 1, n]) }, &[c]);
            let c = binary(g, Binary::Add, c, v[2]);
            let c = g.add(prim::Reshape { to: to(&[m, n]) }, &[c]);
            let c = binary(g, Binary::Mul, c, v[3]);
            g.add(prim::Transpose { perm: vec![1, 0] }, &[c])
        });
    }
}

#[test]
fn operand_transforms_need_no_memory() {
    let mut r = Random::new(2);
    let inputs = [r.floats(&[20, 17]), r.floats(&[17, 40])];
    check("transforms", &inputs, 1e-5, |g, v| {
        let (size, positive) = (unary(g, Unary::Abs, v[0]), unary(g, Unary::Relu, v[1]));
        let c = g.add(
            prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false },
            &[size, positive],
        );
        let back =
            g.add(prim::MatMul { a: Transform::Id, b: Transform::Neg, ta: false, tb: true }, &[c, v[1]]);
        binary(g, Binary::Mul, back, size)
    });
}

/// Builds `max(x, 0)` and `min(x, 0)`.
fn positive_and_negative(g: &mut Builder, x: Value) -> [Value; 2] {
    let zero = g.scalar_like(0.0, x);
    [unary(g, Unary::Relu, x), binary(g, Binary::Min, x, zero)]
}

#[test]
fn products_of_two_transforms_share_a_kernel() {
    let mut r = Random::new(7);
    let inputs = [r.floats(&[40, 52]), r.floats(&[52, 70]), r.floats(&[70])];
    let product = |a: Transform, b: Transform, tb: bool| Prim::MatMul(prim::MatMul { a, b, ta: false, tb });
    check("the sum of positive contributions", &inputs, 1e-5, |g, v| {
        let [up, down] = positive_and_negative(g, v[0]);
        let first = g.add(product(Transform::Id, Transform::Pos, false), &[up, v[1]]);
        let second = g.add(product(Transform::Id, Transform::Neg, false), &[down, v[1]]);
        let z = binary(g, Binary::Add, first, second);
        binary(g, Binary::Add, z, v[2])
    });
    let relevance = r.floats(&[40, 70]);
    let inputs = [r.floats(&[40, 52]), r.floats(&[52, 70]), relevance];
    check("its share", &inputs, 1e-5, |g, v| {
        let [up, down] = positive_and_negative(g, v[0]);
        let first = g.add(product(Transform::Id, Transform::Pos, true), &[v[2], v[1]]);
        let second = g.add(product(Transform::Id, Transform::Neg, true), &[v[2], v[1]]);
        let first = binary(g, Binary::Mul, first, up);
        let second = binary(g, Binary::Mul, second, down);
        binary(g, Binary::Add, first, second)
    });
    // The expression is not supported as an epilogue, so each product is stored.
    check("a function of both", &inputs, 1e-3, |g, v| {
        let first = g.add(product(Transform::Id, Transform::Pos, true), &[v[2], v[1]]);
        let second = g.add(product(Transform::Id, Transform::Neg, true), &[v[2], v[1]]);
        let first = unary(g, Unary::Abs, first);
        let power = binary(g, Binary::Pow, first, second);
        binary(g, Binary::Add, power, v[0])
    });
    let geometry = three_by_three();
    let inputs = [r.floats(&[1, 6, 8, 8]), r.floats(&[20, 6, 3, 3]), r.floats(&[20])];
    check("of a convolution", &inputs, 1e-5, |g, v| {
        let [up, down] = positive_and_negative(g, v[0]);
        let op = |w: Transform| Prim::Conv(prim::Conv { geometry: geometry.clone(), w });
        let first = g.add(op(Transform::Pos), &[up, v[1], v[2]]);
        let second = g.add(op(Transform::Neg), &[down, v[1]]);
        binary(g, Binary::Add, first, second)
    });
    let inputs = [r.floats(&[1, 20, 8, 8]), r.floats(&[6, 20, 3, 3]), r.floats(&[1, 6, 8, 8])];
    check("its share of a convolution", &inputs, 1e-5, |g, v| {
        let [up, down] = positive_and_negative(g, v[0]);
        let to = vec![Dim::known(8); 2];
        let op = |w: Transform| {
            Prim::ConvTranspose(prim::ConvTranspose { geometry: geometry.clone(), w, to: to.clone() })
        };
        let first = g.add(op(Transform::Pos), &[v[2], v[1]]);
        let second = g.add(op(Transform::Neg), &[v[2], v[1]]);
        let first = binary(g, Binary::Mul, first, up);
        let second = binary(g, Binary::Mul, second, down);
        binary(g, Binary::Add, first, second)
    });
}

#[test]
fn products_of_few_rows_stream_their_weights() {
    let mut r = Random::new(6);
    for (batch, m, n, k, tb) in [
        (1, 1, 130, 300, false),
        (1, 3, 132, 300, false),
        (1, 16, 70, 900, false),
        (1, 1, 40, 1030, true),
        (1, 9, 260, 132, true),
        (3, 2, 200, 190, true),
        (1, 1, 1000, 2048, false),
    ] {
        let b = if tb { [n, k] } else { [k, n] };
        let inputs = [r.floats(&[batch, m, k]), r.floats(&b), r.floats(&[n]), r.floats(&[batch, m, n])];
        let op = Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Abs, ta: false, tb });
        check(&format!("{batch}x{m}x{n}x{k} {tb}"), &inputs, 1e-5, |g, v| {
            let c = g.add(op.clone(), &v[..2]);
            let c = binary(g, Binary::Add, c, v[2]);
            binary(g, Binary::Mul, c, v[3])
        });
    }
}

#[test]
fn deep_products_are_summed_from_slices() {
    let mut r = Random::new(3);
    let inputs = [r.floats(&[20, 900]), r.floats(&[900, 40]), r.floats(&[40])];
    check("slices", &inputs, 1e-5, |g, v| {
        let c = product(g, v[0], v[1]);
        binary(g, Binary::Add, c, v[2])
    });
    let conv = Prim::Conv(prim::Conv { geometry: three_by_three(), w: Transform::Id });
    let inputs = [r.floats(&[1, 100, 6, 6]), r.floats(&[20, 100, 3, 3]), r.floats(&[20])];
    check("slices of a convolution", &inputs, 1e-5, |g, v| {
        let y = g.add(conv.clone(), v);
        unary(g, Unary::Relu, y)
    });
}

#[test]
fn elementwise_steps_join_the_kernel_of_a_convolution() {
    let mut r = Random::new(4);
    for (kernel, strides, groups, channels, outputs) in [
        (vec![3, 3], vec![1, 1], 1, 4, 40),
        (vec![1, 1], vec![1, 1], 1, 20, 40),
        (vec![1, 1], vec![1, 1], 2, 6, 20),
        (vec![1, 1], vec![2, 2], 1, 6, 9),
        (vec![3, 1], vec![1, 1], 5, 5, 5),
    ] {
        let pads: Vec<usize> = kernel.iter().map(|k| k / 2).collect();
        let window =
            Window { before: pads.clone(), after: pads, strides: strides.clone(), ..Window::unit(&kernel) };
        let geometry = ConvGeometry { window, groups };
        let to: Vec<usize> = strides.iter().map(|s| 8usize.div_ceil(*s)).collect();
        let dims = [&[2, outputs][..], &to].concat();
        let x = r.floats(&[2, channels, 8, 8]);
        let w = r.floats(&[&[outputs, channels / groups][..], &kernel].concat());
        let inputs = [x.clone(), w.clone(), r.floats(&[outputs]), r.floats(&dims)];
        let op = Prim::Conv(prim::Conv { geometry: geometry.clone(), w: Transform::Abs });
        check(&format!("{op:?}, biased"), &inputs, 1e-5, |g, v| {
            let y = g.add(op.clone(), &v[..3]);
            let y = binary(g, Binary::Add, y, v[3]);
            unary(g, Unary::Relu, y)
        });
        let op = Prim::ConvTranspose(prim::ConvTranspose {
            geometry,
            w: Transform::Abs,
            to: vec![Dim::known(8); 2],
        });
        check(&format!("{op:?}, times |x|"), &[r.floats(&dims), w, x], 1e-5, |g, v| {
            let c = g.add(op.clone(), &v[..2]);
            let size = unary(g, Unary::Abs, v[2]);
            binary(g, Binary::Mul, c, size)
        });
    }
}

/// The error of each element is at most that of the precision times the sum of magnitudes. Coarser precisions have larger errors,
/// which shows that they are in use.
#[test]
fn precisions_stay_within_their_bounds() {
    let mut r = Random::new(5);
    let size =
        |t: &Tensor| Tensor::from_f32(t.dims(), &t.to_f32().iter().map(|v| v.abs()).collect::<Vec<_>>());
    let precisions = [
        (Precision::Simt, None),
        (Precision::Tf32x3, Some(Math::Split)),
        (Precision::Tf32, Some(Math::Tf32)),
        (Precision::Bf16, Some(Math::Bf16)),
    ];
    let mut worst = [0.0f64; 4];
    for (m, n, k, tb) in [(40, 70, 90, false), (70, 130, 64, true), (1500, 1500, 20, true)] {
        let inputs = [r.floats(&[m, k]), r.floats(&if tb { [n, k] } else { [k, n] })];
        let sizes = inputs.each_ref().map(size);
        let op = Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb });
        let program = graph(&inputs, |g, v| g.add(op.clone(), v));
        let [exact, sums] = [&inputs, &sizes].map(|i| run(&ReferenceBackend, &program, i).unwrap().to_f64());
        for ((precision, math), worst) in precisions.into_iter().zip(&mut worst) {
            let bound = math.map_or(k as f64 / (1 << 24) as f64, |math| math.error(k));
            let outputs = run(&simulator().with_precision(precision), &program, &inputs).unwrap().to_f64();
            for ((output, exact), sum) in outputs.iter().zip(&exact).zip(&sums) {
                let off = (output - exact).abs() / sum;
                assert!(off <= bound, "{precision:?} of {m}x{n}x{k}: {off:e} of the sum, up to {bound:e}");
                *worst = worst.max(off);
            }
        }
    }
    println!("simt, 3xtf32, tf32, bf16 are off by {worst:?} of the sum of magnitudes");
    assert!(worst[2] > 10.0 * worst[1] && worst[3] > 2.0 * worst[2], "{worst:?}");
}
