//! Every primitive on the interpreted device against the float64 reference.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, ConvGeometry, Factor, PadMode, Prim, Reduction,
    Scan, Transform, Unary, Window,
};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{DType, Dim, Shape, Tensor};

const TRANSFORMS: [Transform; 6] =
    [Transform::Id, Transform::Abs, Transform::Pos, Transform::Neg, Transform::Square, Transform::One];

#[test]
fn elementwise_functions_of_floats() {
    let values = [
        -100.0f32,
        -20.0,
        -9.3,
        -3.0,
        -1.5,
        -1.0,
        -0.7,
        -0.5,
        -1e-3,
        -1e-20,
        -0.0,
        0.0,
        1e-20,
        1e-4,
        0.3,
        0.5,
        0.625,
        0.9999,
        1.0,
        1.0001,
        1.5,
        2.5,
        3.0,
        5.0,
        9.3,
        20.0,
        88.0,
        100.0,
        3.4e38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let unary = [
        Unary::Abs,
        Unary::Neg,
        Unary::Sign,
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Erf,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 0.5 },
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::HardSwish,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Clip { min: Some(-0.5), max: None },
        Unary::Clip { min: None, max: Some(0.75) },
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sin,
        Unary::Cos,
    ];
    for f in unary {
        // Sine and cosine are tested in the range where the argument reduction is exact.
        let x: Vec<f32> = match f {
            Unary::Sin | Unary::Cos => values.iter().copied().filter(|v| v.abs() < 1e5).collect(),
            _ => values.to_vec(),
        };
        check_elementwise(&format!("{f:?}"), Prim::Unary(f), &[Tensor::from_f32(&[x.len()], &x)]);
    }
    let (mut a, mut b) = (vec![], vec![]);
    for x in values {
        for y in values {
            a.push(x);
            b.push(y);
        }
    }
    let n = a.len();
    let operands = [Tensor::from_f32(&[n], &a), Tensor::from_f32(&[n], &b)];
    for f in
        [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::GuardedDiv, Binary::Min, Binary::Max]
    {
        check_elementwise(&format!("{f:?}"), Prim::Binary(f), &operands);
    }
    for f in [Binary::Equal, Binary::Less, Binary::LessOrEqual] {
        check_elementwise(&format!("{f:?}"), Prim::Binary(f), &operands);
    }
    let mild = |v: &f32| v.abs() < 50.0 || !v.is_finite();
    let pairs: Vec<(f32, f32)> =
        a.iter().zip(&b).map(|(a, b)| (*a, *b)).filter(|(a, b)| mild(a) && mild(b)).collect();
    let side = |f: fn(&(f32, f32)) -> f32| {
        Tensor::from_f32(&[pairs.len()], &pairs.iter().map(f).collect::<Vec<_>>())
    };
    check_elementwise("Pow", Prim::Binary(Binary::Pow), &[side(|p| p.0), side(|p| p.1)]);
    let finite: Vec<(f32, f32)> =
        pairs.iter().copied().filter(|(a, b)| a.is_finite() && b.abs() > 1e-2).collect();
    let side = |f: fn(&(f32, f32)) -> f32| {
        Tensor::from_f32(&[finite.len()], &finite.iter().map(f).collect::<Vec<_>>())
    };
    check_elementwise("Mod", Prim::Binary(Binary::Mod), &[side(|p| p.0), side(|p| p.1)]);
}

#[test]
fn elementwise_functions_of_integers_and_booleans() {
    let values = [i64::MIN, -1 << 40, -7, -3, -2, -1, 0, 1, 2, 3, 5, 200, 70000, 1 << 33, i64::MAX];
    let x = Tensor::from_i64(&[values.len()], &values);
    for f in
        [Unary::Abs, Unary::Neg, Unary::Sign, Unary::Relu, Unary::Clip { min: Some(-2.5), max: Some(3.0) }]
    {
        check_elementwise(&format!("{f:?}"), Prim::Unary(f), std::slice::from_ref(&x));
    }
    let (mut a, mut b) = (vec![], vec![]);
    for x in values {
        for y in values {
            a.push(x);
            b.push(y);
        }
    }
    let (left, right) = (Tensor::from_i64(&[a.len()], &a), Tensor::from_i64(&[b.len()], &b));
    for f in [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::GuardedDiv,
        Binary::Min,
        Binary::Max,
        Binary::Equal,
        Binary::Less,
        Binary::LessOrEqual,
    ] {
        check_elementwise(&format!("{f:?}"), Prim::Binary(f), &[left.clone(), right.clone()]);
    }
    let nonzero: Vec<i64> = b.iter().map(|v| if *v == 0 { 4 } else { *v }).collect();
    for f in [Binary::Div, Binary::Mod] {
        check_elementwise(
            &format!("{f:?}"),
            Prim::Binary(f),
            &[left.clone(), Tensor::from_i64(&[nonzero.len()], &nonzero)],
        );
    }
    let bases = Tensor::from_i64(&[6, 1], &[-3, -1, 1, 2, 7, 10]);
    let powers = Tensor::from_i64(&[7], &[-3, -2, 0, 1, 2, 5, 70]);
    check_elementwise("Pow", Prim::Binary(Binary::Pow), &[bases, powers]);
    let bools =
        |v: &[u8]| Tensor::from_bytes(DType::Bool, vec![v.len()], std::sync::Arc::new(v.to_vec())).unwrap();
    let (p, q) = (bools(&[0, 0, 1, 1]), bools(&[0, 1, 0, 1]));
    for f in [Binary::And, Binary::Or, Binary::Xor, Binary::Equal] {
        check_elementwise(&format!("{f:?}"), Prim::Binary(f), &[p.clone(), q.clone()]);
    }
    check_elementwise("Not", Prim::Unary(Unary::Not), std::slice::from_ref(&p));
    for to in [
        DType::F32,
        DType::I64,
        DType::I8,
        DType::U8,
        DType::I16,
        DType::U16,
        DType::I32,
        DType::U32,
        DType::Bool,
    ] {
        check_elementwise(&format!("to {to}"), Prim::Cast(prim::Cast { to }), std::slice::from_ref(&x));
        check_elementwise(&format!("bool to {to}"), Prim::Cast(prim::Cast { to }), std::slice::from_ref(&p));
        let floats = [-1e10f32, -300.7, -2.5, -0.0, 0.0, 0.4, 3.99, 255.5, 70000.0, 1e12, 1e19, f32::NAN];
        check_elementwise(
            &format!("float to {to}"),
            Prim::Cast(prim::Cast { to }),
            &[Tensor::from_f32(&[floats.len()], &floats)],
        );
    }
    let floats =
        [0.1f32, 1.0, 65519.0, 65520.0, 1e-7, 3e-8, 6e-5, -2.0009766, 3.4e38, f32::NAN, f32::INFINITY];
    for to in [DType::F16, DType::Bf16] {
        let chain = |b: &mut Builder, v: &[dlbc_ops::graph::Value]| {
            let narrow = b.add(prim::Cast { to }, v);
            b.add(prim::Cast { to: DType::F32 }, &[narrow])
        };
        check(&format!("through {to}"), &[Tensor::from_f32(&[floats.len()], &floats)], 1e-7, chain);
    }
}

#[test]
fn chains_broadcast_and_fuse() {
    let mut r = Random::new(1);
    for (a, b) in [
        (vec![4, 5, 6], vec![4, 5, 6]),
        (vec![4, 5, 6], vec![6]),
        (vec![4, 5, 6], vec![5, 1]),
        (vec![4, 1, 6], vec![5, 1]),
        (vec![1], vec![3, 2]),
        (vec![], vec![]),
        (vec![2, 1, 3, 1, 2], vec![1, 4, 1, 5, 1]),
        (vec![0, 3], vec![3]),
    ] {
        let inputs = [r.floats(&a), r.floats(&b)];
        check("|a|·b + a·σ(b)", &inputs, 1e-6, |g, v| {
            let size = g.add(Prim::Unary(Unary::Abs), &v[..1]);
            let product = g.add(Prim::Binary(Binary::Mul), &[size, v[1]]);
            let gate = g.add(Prim::Unary(Unary::Sigmoid), &v[1..]);
            let other = g.add(Prim::Binary(Binary::Mul), &[v[0], gate]);
            g.add(Prim::Binary(Binary::Add), &[product, other])
        });
        check("where(a < b, a, b)", &inputs, 0.0, |g, v| {
            let less = g.add(Prim::Binary(Binary::Less), v);
            g.add(Prim::Select, &[less, v[0], v[1]])
        });
    }
    // More terms and operands than a kernel supports.
    let inputs: Vec<Tensor> = (0..20).map(|_| r.floats(&[3, 7])).collect();
    check("a sum of many", &inputs, 1e-6, |g, v| {
        v[1..].iter().fold(v[0], |sum, x| {
            let e = g.add(Prim::Unary(Unary::Tanh), &[sum]);
            g.add(Prim::Binary(Binary::Add), &[e, *x])
        })
    });
}

#[test]
fn products() {
    let mut r = Random::new(2);
    for (i, pa) in TRANSFORMS.into_iter().enumerate() {
        let pb = TRANSFORMS[(i + 2) % 6];
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let shape = |swap: bool, m: usize, n: usize| if swap { vec![n, m] } else { vec![m, n] };
            let inputs = [r.floats(&shape(ta, 5, 19)), r.floats(&shape(tb, 19, 7))];
            let op = Prim::MatMul(prim::MatMul { a: pa, b: pb, ta, tb });
            check(&format!("{op:?}"), &inputs, 1e-6, |g, v| g.add(op.clone(), v));
        }
    }
    let op = Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Abs, ta: false, tb: false });
    for (a, b) in [
        (vec![1, 1], vec![1, 1]),
        (vec![3, 0], vec![0, 4]),
        (vec![70, 33], vec![33, 130]),
        (vec![17, 16], vec![16, 64]),
        (vec![64, 64], vec![64, 64]),
        (vec![2, 3, 9, 20], vec![2, 3, 20, 5]),
        (vec![2, 1, 9, 20], vec![3, 20, 5]),
        (vec![1, 200], vec![5, 200, 3]),
        (vec![1400, 5], vec![5, 1500]),
    ] {
        let inputs = [r.floats(&a), r.floats(&b)];
        check(&format!("{a:?}·{b:?}"), &inputs, 1e-6, |g, v| g.add(op.clone(), v));
    }
    // Operands that are views: transposed, sliced, broadcast.
    let inputs = [r.floats(&[6, 4, 9]), r.floats(&[3, 9])];
    check("views", &inputs, 1e-6, |g, v| {
        let a = g.add(prim::Transpose { perm: vec![1, 0, 2] }, &v[..1]);
        let a = g.add(prim::Slice { axis: 1, start: Dim::known(5), len: Dim::known(3), step: -2 }, &[a]);
        let b = g.add(prim::Expand { to: known(&[4, 3, 9]) }, &v[1..]);
        g.add(prim::MatMul { a: Transform::Pos, b: Transform::Neg, ta: false, tb: true }, &[a, b])
    });
    let numbers = [
        Tensor::from_i64(&[3, 4], &(-6..6).collect::<Vec<_>>()),
        Tensor::from_i64(&[2, 4, 2], &(0..16).collect::<Vec<_>>()),
    ];
    for p in TRANSFORMS {
        let op = Prim::MatMul(prim::MatMul { a: p, b: Transform::Id, ta: false, tb: false });
        check("integers", &numbers, 0.0, |g, v| g.add(op.clone(), v));
    }
}

fn window(
    kernel: &[usize],
    strides: &[usize],
    pads: [&[usize]; 2],
    dilations: &[usize],
    ceil: bool,
) -> Window {
    let list = |v: &[usize]| v.to_vec();
    Window {
        kernel: list(kernel),
        strides: list(strides),
        before: list(pads[0]),
        after: list(pads[1]),
        dilations: list(dilations),
        ceil,
    }
}

fn windows() -> Vec<(Window, Vec<usize>)> {
    vec![
        (window(&[3, 3], &[1, 1], [&[1, 1], &[1, 1]], &[1, 1], false), vec![6, 7]),
        (window(&[3, 2], &[2, 3], [&[1, 0], &[2, 1]], &[1, 1], false), vec![7, 8]),
        (window(&[2, 2], &[1, 2], [&[2, 0], &[0, 1]], &[3, 2], false), vec![8, 9]),
        (window(&[1, 1], &[1, 1], [&[0, 0], &[0, 0]], &[1, 1], false), vec![4, 5]),
        (window(&[5], &[3], [&[2], &[2]], &[1], false), vec![17]),
        (window(&[2, 1, 2], &[2, 1, 1], [&[0, 0, 1], &[1, 0, 0]], &[1, 1, 2], false), vec![5, 3, 4]),
        (window(&[4, 4], &[4, 4], [&[0, 0], &[0, 0]], &[1, 1], false), vec![4, 4]),
    ]
}

#[test]
fn convolutions_and_their_adjoints() {
    let mut r = Random::new(3);
    for (window, spatial) in windows() {
        for (images, groups, channels, outputs) in [(2, 1, 3, 5), (1, 2, 4, 6), (2, 4, 4, 4), (1, 1, 2, 33)] {
            let geometry = ConvGeometry { window: window.clone(), groups };
            let x = r.floats(&[vec![images, channels], spatial.clone()].concat());
            let w = r.floats(&[vec![outputs, channels / groups], window.kernel.clone()].concat());
            let bias = r.floats(&[outputs]);
            for part in [Transform::Id, Transform::Abs, Transform::Neg, Transform::One] {
                let op = Prim::Conv(prim::Conv { geometry: geometry.clone(), w: part });
                let what = format!("{op:?} {images} {channels} {outputs}");
                check(&what, &[x.clone(), w.clone(), bias.clone()], 1e-6, |g, v| g.add(op.clone(), v));
            }
            let op = Prim::Conv(prim::Conv { geometry: geometry.clone(), w: Transform::Id });
            check("without bias", &[x.clone(), w.clone()], 1e-6, |g, v| g.add(op.clone(), v));
            let to: Vec<Dim> = spatial.iter().map(|d| Dim::known(*d as i64)).collect();
            let out_dims = window.output(&to).unwrap();
            let out_dims: Vec<usize> = out_dims.iter().map(|d| d.as_known().unwrap() as usize).collect();
            let s = r.floats(&[vec![images, outputs], out_dims].concat());
            for part in [Transform::Id, Transform::Pos] {
                let op = Prim::ConvTranspose(prim::ConvTranspose {
                    geometry: geometry.clone(),
                    w: part,
                    to: to.clone(),
                });
                let what = format!("{op:?} {images} {channels} {outputs}");
                check(&what, &[s.clone(), w.clone()], 1e-6, |g, v| g.add(op.clone(), v));
            }
        }
    }
}

#[test]
fn windows_and_their_reverses() {
    let mut r = Random::new(4);
    let mut cases = windows();
    cases.push((window(&[3, 3], &[2, 2], [&[0, 0], &[0, 0]], &[1, 1], true), vec![6, 8]));
    for (window, spatial) in cases {
        let x = r.steps(&[vec![2, 3], spatial.clone()].concat());
        let to: Vec<Dim> = spatial.iter().map(|d| Dim::known(*d as i64)).collect();
        let out_dims: Vec<usize> =
            window.output(&to).unwrap().iter().map(|d| d.as_known().unwrap() as usize).collect();
        let s = r.floats(&[vec![2, 3], out_dims].concat());
        check("sum", std::slice::from_ref(&x), 1e-6, |g, v| g.add(prim::WindowSum(window.clone()), v));
        check("max", std::slice::from_ref(&x), 0.0, |g, v| g.add(prim::WindowMax(window.clone()), v));
        let op = Prim::WindowSumTranspose(prim::WindowSumTranspose { window: window.clone(), to });
        check("spread", std::slice::from_ref(&s), 1e-6, |g, v| g.add(op.clone(), v));
        for first in [false, true] {
            check("share", &[x.clone(), s.clone()], 1e-6, |g, v| {
                let y = g.add(prim::WindowMax(window.clone()), &v[..1]);
                g.add(prim::WindowMaxShare { window: window.clone(), first }, &[v[0], y, v[1]])
            });
        }
    }
}

#[test]
fn reductions() {
    let mut r = Random::new(5);
    let kinds = [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod];
    for (dims, axes) in [
        (vec![4, 5], vec![1]),
        (vec![4, 5], vec![0]),
        (vec![3, 40], vec![1]),
        (vec![3, 40, 600], vec![1]),
        (vec![2, 3000], vec![0, 1]),
        (vec![2, 3, 4, 5], vec![1, 3]),
        (vec![2, 3, 4, 5], vec![0, 2]),
        (vec![6], vec![]),
        (vec![2, 2, 3, 2, 2, 2, 2, 3, 2, 2], vec![1, 3, 5, 7, 9]),
    ] {
        let x = r.floats(&dims);
        for kind in kinds {
            for keep in [false, true] {
                let op = Prim::Reduce(prim::Reduce { kind, axes: axes.clone(), keep });
                check(&format!("{op:?} of {dims:?}"), std::slice::from_ref(&x), 1e-6, |g, v| {
                    g.add(op.clone(), v)
                });
            }
        }
        if let [axis] = axes[..] {
            let ties = r.steps(&dims);
            for kind in [Reduction::ArgMax, Reduction::ArgMin] {
                let op = Prim::Reduce(prim::Reduce { kind, axes: vec![axis], keep: false });
                check(&format!("{op:?} of {dims:?}"), std::slice::from_ref(&ties), 0.0, |g, v| {
                    g.add(op.clone(), v)
                });
            }
            let x = r.floats(&dims);
            check(&format!("softmax of {dims:?}"), std::slice::from_ref(&x), 1e-6, |g, v| {
                g.add(prim::Softmax { axis }, v)
            });
        }
    }
    let x = Tensor::from_i64(&[3, 50], &(-75..75).collect::<Vec<_>>());
    for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::ArgMax, Reduction::ArgMin] {
        let op = Prim::Reduce(prim::Reduce { kind, axes: vec![1], keep: false });
        check(&format!("{op:?} of integers"), std::slice::from_ref(&x), 0.0, |g, v| g.add(op.clone(), v));
    }
    check("a transposed operand", &[r.floats(&[7, 30])], 1e-6, |g, v| {
        let t = g.add(prim::Transpose { perm: vec![1, 0] }, v);
        g.add(prim::Reduce { kind: Reduction::Sum, axes: vec![0], keep: false }, &[t])
    });
    check("the sum of nothing", &[r.floats(&[3, 0])], 0.0, |g, v| {
        g.add(prim::Reduce { kind: Reduction::Sum, axes: vec![1], keep: false }, v)
    });
}

fn known(dims: &[usize]) -> Shape {
    dims.iter().map(|d| Dim::known(*d as i64)).collect()
}

#[test]
fn movement() {
    let mut r = Random::new(6);
    let d = Dim::known;
    let ops = [
        Prim::Reshape(prim::Reshape { to: known(&[6, 20]) }),
        Prim::Transpose(prim::Transpose { perm: vec![2, 0, 1] }),
        Prim::Slice(prim::Slice { axis: 1, start: d(1), len: d(2), step: 1 }),
        Prim::Slice(prim::Slice { axis: 2, start: d(4), len: d(3), step: -2 }),
        Prim::SliceTranspose(prim::SliceTranspose { axis: 1, start: d(1), to: d(9), step: 2 }),
        Prim::SliceTranspose(prim::SliceTranspose { axis: 2, start: d(4), to: d(6), step: -1 }),
        Prim::Pad(prim::Pad {
            before: vec![d(1), d(0), d(2)],
            after: vec![d(0), d(3), d(1)],
            mode: PadMode::Constant(2.0),
        }),
        Prim::Pad(prim::Pad {
            before: vec![d(1), d(2), d(2)],
            after: vec![d(3), d(3), d(1)],
            mode: PadMode::Reflect,
        }),
        Prim::Pad(prim::Pad {
            before: vec![d(1), d(0), d(7)],
            after: vec![d(0), d(3), d(1)],
            mode: PadMode::Edge,
        }),
        Prim::Expand(prim::Expand { to: known(&[2, 6, 4, 5]) }),
        Prim::Concat(prim::Concat { axis: 1 }),
    ];
    let floats = r.floats(&[6, 4, 5]);
    let whole = Tensor::from_i64(&[6, 4, 5], &(0..120).collect::<Vec<_>>());
    let bools = Tensor::from_bytes(
        DType::Bool,
        vec![6, 4, 5],
        std::sync::Arc::new((0..120).map(|i| (i % 3 == 0) as u8).collect::<Vec<u8>>()),
    )
    .unwrap();
    for op in ops {
        for x in [&floats, &whole, &bools] {
            check(&format!("{op:?}"), std::slice::from_ref(x), 0.0, |g, v| g.add(op.clone(), v));
            check(&format!("{op:?} of a transpose"), std::slice::from_ref(x), 0.0, |g, v| {
                let t = g.add(prim::Transpose { perm: vec![0, 2, 1] }, v);
                let t = g.add(prim::Reshape { to: known(&[6, 5, 4]) }, &[t]);
                let t = g.add(prim::Transpose { perm: vec![0, 2, 1] }, &[t]);
                g.add(op.clone(), &[t])
            });
        }
    }
    let parts = [r.floats(&[2, 3, 4]), r.floats(&[2, 1, 4]), r.floats(&[2, 5, 4])];
    check("concat", &parts, 0.0, |g, v| g.add(prim::Concat { axis: 1 }, v));
    check("iota", &[], 0.0, |g, _| g.add(prim::Iota { len: d(7) }, &[]));
    check("a reshape that strides cannot express", std::slice::from_ref(&floats), 0.0, |g, v| {
        let t = g.add(prim::Transpose { perm: vec![1, 0, 2] }, v);
        g.add(prim::Reshape { to: known(&[24, 5]) }, &[t])
    });
    check("dims", &[], 0.0, |g, _| g.add(Prim::Const(Tensor::from_i64(&[2], &[3, 4])), &[]));
}

#[test]
fn indices() {
    let mut r = Random::new(7);
    for axis in 0..3 {
        let data = r.floats(&[4, 5, 6]);
        let dim = [4, 5, 6][axis] as i64;
        let picks: Vec<i64> = (0..12).map(|i| (i * 7 % (2 * dim)) - dim).collect();
        let idx = Tensor::from_i64(&[3, 4], &picks);
        check("gather", &[data.clone(), idx.clone()], 0.0, |g, v| g.add(prim::Gather { axis }, v));
        let mut dims = vec![4, 5, 6];
        dims.splice(axis..=axis, [3, 4]);
        let updates = r.floats(&dims);
        let op = Prim::ScatterAdd(prim::ScatterAdd { axis, to: Dim::known(dim) });
        check("scatter", &[updates, idx], 1e-6, |g, v| g.add(op.clone(), v));
    }
    let whole = Tensor::from_i64(&[4, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
    let idx = Tensor::from_i64(&[4], &[1, -1, 1, 0]);
    check("gather of integers", &[whole.clone(), idx.clone()], 0.0, |g, v| {
        g.add(prim::Gather { axis: 0 }, v)
    });
    let op = Prim::ScatterAdd(prim::ScatterAdd { axis: 0, to: Dim::known(4) });
    check("scatter of integers", &[whole.clone(), idx.clone()], 0.0, |g, v| g.add(op.clone(), v));
    let updates = Tensor::from_i64(&[4, 2], &[10, 20, 30, 40, 50, 60, 70, 80]);
    check("overwrite", &[whole, idx.clone(), updates], 0.0, |g, v| g.add(Prim::Overwrite, v));
    check("overwrite of floats", &[r.floats(&[6, 3]), idx, r.floats(&[4, 3])], 0.0, |g, v| {
        g.add(Prim::Overwrite, v)
    });
    check("of constants", &[], 0.0, |g, _| {
        let data = g.constant("data", Tensor::from_f32(&[3], &[1.0, 2.0, 3.0]));
        let at = g.constant("at", Tensor::from_i64(&[2], &[2, 0]));
        g.add(prim::Gather { axis: 0 }, &[data, at])
    });
}

#[test]
fn an_index_out_of_range_names_the_node() {
    let mut r = Random::new(8);
    let data = r.floats(&[4, 5]);
    for bad in [4, -5, i64::MAX, i64::MIN] {
        let inputs = [data.clone(), Tensor::from_i64(&[2], &[0, bad])];
        let error = attempt(&inputs, |g, v| g.add(prim::Gather { axis: 0 }, v)).unwrap_err().to_string();
        assert!(error.contains("Gather") && error.contains("out of range"), "{error}");
        let rows = [Tensor::from_i64(&[2], &[0, bad]), r.floats(&[2, 5])];
        let op = Prim::ScatterAdd(prim::ScatterAdd { axis: 0, to: Dim::known(4) });
        let error = attempt(&rows, |g, v| g.add(op.clone(), &[v[1], v[0]])).unwrap_err().to_string();
        assert!(error.contains("ScatterAdd") && error.contains("out of range"), "{error}");
    }
    let numbers = [Tensor::from_i64(&[2], &[1, 2]), Tensor::from_i64(&[2], &[1, 0])];
    let error = attempt(&numbers, |g, v| g.add(Prim::Binary(Binary::Div), v)).unwrap_err().to_string();
    assert!(error.contains("division by 0"), "{error}");
}

#[test]
fn attention_and_its_relevance() {
    let mut r = Random::new(9);
    for (lead, m, n, d, e) in
        [(vec![], 3, 5, 4, 6), (vec![2, 3], 7, 7, 8, 8), (vec![2], 1, 40, 3, 2), (vec![2], 5, 1, 3, 2)]
    {
        let shape = |rows: usize, columns: usize| [lead.clone(), vec![rows, columns]].concat();
        let data =
            [r.floats(&shape(m, d)), r.floats(&shape(n, d)), r.floats(&shape(n, e)), r.floats(&shape(m, e))];
        let mut mask: Vec<f32> =
            (0..m * n).map(|i| if i % 3 == 1 { f32::NEG_INFINITY } else { 0.0 }).collect();
        mask[..n].fill(f32::NEG_INFINITY);
        let mask = Tensor::from_f32(&[m, n], &mask);
        for guard in [false, true] {
            let geometry = AttentionGeometry { scale: 0.4, guard };
            let mut inputs = data[..3].to_vec();
            check("attention", &inputs, 1e-6, |g, v| g.add(prim::Attention(geometry), v));
            let masked = [&data[..3], std::slice::from_ref(&mask)].concat();
            check("masked attention", &masked, 1e-6, |g, v| g.add(prim::Attention(geometry), v));
            inputs.push(data[3].clone());
            if guard {
                inputs.push(mask.clone());
            }
            for part in
                [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value, AttentionPart::Dropped]
            {
                for value in [0.5, 1.0] {
                    let op = Prim::AttentionShare(prim::AttentionShare { geometry, value, part });
                    check(&format!("{op:?}"), &inputs, 2e-6, |g, v| g.add(op.clone(), v));
                }
            }
        }
    }
}

/// An attention in its pieces and its derivatives, with vectors that broadcast along both axes of the scores; ragged shapes of several
/// tiles.
#[test]
fn attention_in_pieces() {
    let mut r = Random::new(12);
    for (i, case) in (0..18).map(|i| (i, i % 6)) {
        let (m, n, d, e) = [(70, 67, 20, 9), (1, 1, 1, 1), (3, 1, 5, 2)][i / 6];
        let inputs = [
            r.floats(&[2, m, d]),
            r.floats(&[1, n, d]),
            r.floats(&[2, n, e]),
            r.floats(&[2, m, e]),
            r.floats(&[2, m, 1]),
            r.floats(&[1, n]),
        ];
        check(&format!("attention in pieces, {case}"), &inputs, 2e-6, |b, v| {
            let [q, k, value, g, rows, columns] = *v else { panic!("six inputs") };
            let scores = b.matmul(q, Factor::transposed(k));
            let scores = b.binary(Binary::Add, scores, columns);
            let scores = b.mul(scores, rows);
            let p = b.add(prim::Softmax { axis: 2 }, &[scores]);
            let back = b.matmul(g, Factor::transposed(value));
            let flow = b.mul(back, p);
            let sum = b.reduce_keepdims(Reduction::Sum, flow, &[2]);
            let all = b.mul(p, sum);
            let derivative = b.minus(flow, all);
            match case {
                0 => b.matmul(p, Factor::transformed(value, Transform::Abs)),
                1 => b.matmul(derivative, k),
                2 => b.matmul(Factor::transposed(derivative), q),
                3 => b.matmul(Factor::transposed(q), derivative),
                4 => b.matmul(Factor::transposed(value), Factor::transposed(p)),
                _ => b.reduce(Reduction::Sum, flow, &[1, 2]),
            }
        });
    }
}

#[test]
fn recurrences() {
    let mut r = Random::new(10);
    for reverse in [false, true] {
        let inputs = [r.floats(&[2, 3]), r.floats(&[5, 2, 4]), r.floats(&[4, 3]), r.floats(&[3, 3])];
        check("scan", &inputs, 1e-5, |g, v| {
            let mut step = Builder::new();
            let ty = |dims: &[usize]| dlbc_ops::tensor::TensorType::new(DType::F32, known(dims));
            let h = step.input("h", ty(&[2, 3]));
            let x = step.input("x", ty(&[2, 4]));
            let w = step.input("w", ty(&[4, 3]));
            let u = step.input("u", ty(&[3, 3]));
            let product =
                Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Id, ta: false, tb: false });
            let (from_x, from_h) = (step.add(product.clone(), &[x, w]), step.add(product, &[h, u]));
            let sum = step.add(Prim::Binary(Binary::Add), &[from_x, from_h]);
            let next = step.add(Prim::Unary(Unary::Tanh), &[sum]);
            step.graph_mut().add_output(Output::value("next"), next);
            let (scan, constants) = Scan::from_step(step.finish(), 1, reverse);
            assert!(constants.is_empty());
            g.add(Prim::Scan(scan), v)
        });
    }
}
