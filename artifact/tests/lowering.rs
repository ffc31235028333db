//! Every primitive, in all geometries, as ONNX Runtime runs its lowering: inlined and as an artifact.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::{Run, difference, dim, dims, expected, onnx_runtime, program, python, ty, values};
use dlbc_ops::graph::Value;
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, ConvGeometry, PadMode, Prim, Reduction,
    Transform, Unary, Window,
};
use dlbc_ops::program::Program;
use dlbc_ops::tensor::{Bindings, DType, Dim, Tensor};

const BOUND: f64 = 1e-5;

/// A program and the sizes to run it with: `n=2 h=5`.
struct Case {
    name: String,
    program: Program,
    sizes: Vec<String>,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: &str, sizes: &[&str], make: impl FnOnce(&mut Builder) -> Vec<Value>) {
        let sizes = sizes.iter().map(ToString::to_string).collect();
        self.0.push(Case { name: name.into(), program: program(make), sizes });
    }

    /// One primitive of inputs `a`, `b`, `c`.
    fn prim(&mut self, prim: Prim, types: &[&str], sizes: &[&str]) {
        let name = format!("{prim:?} {types:?}");
        self.add(&name, sizes, |b| {
            let inputs: Vec<Value> =
                types.iter().zip(["a", "b", "c", "d", "e"]).map(|(t, n)| b.input(n, ty(t))).collect();
            vec![b.add(prim, &inputs)]
        });
    }

    fn check(self) {
        let Some(python) = python() else { return };
        let mut runs = vec![];
        let mut expected_outputs = vec![];
        for case in &self.0 {
            for sizes in &case.sizes {
                let bindings = bindings(sizes);
                let bound = case.program.graph.bind(&bindings);
                let inputs: BTreeMap<String, Tensor> = bound
                    .inputs()
                    .iter()
                    .map(|id| bound.node(*id))
                    .enumerate()
                    .map(|(i, n)| (n.name().to_string(), values(&n.types[0], i as u64 + 3)))
                    .collect();
                let results = expected(&case.program, &bindings, &inputs);
                for (form, model) in [
                    ("plain", dlbc_artifact::write_plain_model(&case.program.graph)),
                    ("artifact", dlbc_artifact::write(&case.program)),
                ] {
                    let name = format!("{} ({sizes}) as {form}", case.name);
                    let model = model.unwrap_or_else(|e| panic!("{name}: {e}"));
                    runs.push(Run { name, model, inputs: inputs.clone() });
                    expected_outputs.push(results.clone());
                }
            }
        }
        let mut faults = vec![];
        for ((run, result), expected) in runs.iter().zip(onnx_runtime(&python, &runs)).zip(&expected_outputs)
        {
            match result {
                Err(e) => faults.push(format!("{}: {e}", run.name)),
                Ok(outputs) => {
                    let fault = expected.iter().find_map(|(name, e)| difference(&outputs[name], e, BOUND));
                    faults.extend(fault.map(|d| format!("{}: {d}", run.name)));
                }
            }
        }
        eprintln!("{} runs in ONNX Runtime", runs.len());
        assert!(faults.is_empty(), "{} of {} runs:\n{}", faults.len(), runs.len(), faults.join("\n"));
    }
}

fn bindings(sizes: &str) -> Bindings {
    let pairs = sizes.split_whitespace().map(|s| s.split_once('=').unwrap());
    pairs.map(|(n, v)| (n.into(), v.parse().unwrap())).collect()
}

fn window(
    kernel: &[usize],
    strides: &[usize],
    pads: [&[usize]; 2],
    dilations: &[usize],
    ceil: bool,
) -> Window {
    Window {
        kernel: kernel.into(),
        strides: strides.into(),
        before: pads[0].into(),
        after: pads[1].into(),
        dilations: dilations.into(),
        ceil,
    }
}

/// Windows of rank 1 to 3, with strides 1 to 3, asymmetric pads, dilations and rounding up.
fn windows() -> Vec<Window> {
    let mut all = vec![];
    for ceil in [false, true] {
        for (kernel, stride, before, after, dilation) in [
            (1, 1, 0, 0, 1),
            (3, 1, 1, 1, 1),
            (3, 2, 1, 1, 1),
            (3, 3, 0, 2, 1),
            (2, 3, 0, 0, 1),
            (2, 3, 1, 0, 1),
            (4, 3, 1, 2, 1),
            (5, 2, 0, 1, 1),
            (3, 1, 2, 1, 2),
            (3, 2, 1, 3, 2),
            (2, 2, 0, 0, 3),
        ] {
            all.push(window(&[kernel], &[stride], [&[before], &[after]], &[dilation], ceil));
        }
        all.push(window(&[3, 2], &[2, 3], [&[1, 0], &[0, 1]], &[1, 1], ceil));
        all.push(window(&[2, 3], &[1, 2], [&[1, 2], &[0, 1]], &[2, 1], ceil));
        all.push(window(&[2, 2, 2], &[2, 1, 2], [&[1, 0, 0], &[0, 1, 1]], &[1, 1, 1], ceil));
    }
    all
}

/// Spatial dimensions for a rank: known, and symbolic with the sizes to run.
fn spatial(rank: usize) -> Vec<(Vec<Dim>, Vec<&'static str>)> {
    match rank {
        1 => vec![
            (dims(&["9"]), vec!["n=2"]),
            (dims(&["10"]), vec!["n=1"]),
            (dims(&["h"]), vec!["n=2 h=7", "n=1 h=8", "n=3 h=9", "n=1 h=12"]),
        ],
        2 => vec![
            (dims(&["7", "8"]), vec!["n=2"]),
            (dims(&["h", "9"]), vec!["n=1 h=7", "n=2 h=8"]),
            (dims(&["h", "w"]), vec!["n=2 h=9 w=7", "n=1 h=6 w=8"]),
        ],
        _ => vec![(dims(&["5", "4", "6"]), vec!["n=2"]), (dims(&["h", "w", "d"]), vec!["n=1 h=5 w=6 d=7"])],
    }
}

fn image(channels: &str, spatial: &[Dim]) -> dlbc_ops::tensor::TensorType {
    let dims: Vec<Dim> = [dim("n"), dim(channels)].into_iter().chain(spatial.to_vec()).collect();
    dlbc_ops::tensor::TensorType::new(DType::F32, dims)
}

#[test]
fn elementwise() {
    let mut cases = Cases::default();
    let functions = [
        Unary::Abs,
        Unary::Neg,
        Unary::Sign,
        Unary::Exp,
        Unary::Erf,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.2 },
        Unary::Elu { alpha: 1.5 },
        Unary::HardSigmoid { alpha: 0.3, beta: 0.4 },
        Unary::HardSwish,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Clip { min: Some(-1.5), max: Some(2.0) },
        Unary::Clip { min: None, max: Some(1.0) },
        Unary::Clip { min: Some(0.5), max: None },
        Unary::Clip { min: None, max: None },
        Unary::Clip { min: Some(f32::NEG_INFINITY), max: Some(f32::INFINITY) },
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sin,
        Unary::Cos,
        Unary::Reciprocal,
    ];
    for f in functions {
        cases.prim(Prim::Unary(f), &["f32[n,5]"], &["n=3"]);
    }
    for f in [Unary::Log, Unary::Sqrt] {
        cases.add(&format!("{f:?}"), &["n=3"], |b| {
            let x = b.input("a", ty("f32[n,5]"));
            let x = b.unary(Unary::Abs, x);
            vec![b.unary(f, x)]
        });
    }
    for f in
        [Unary::Abs, Unary::Neg, Unary::Sign, Unary::Relu, Unary::Clip { min: Some(-1.5), max: Some(2.5) }]
    {
        cases.prim(Prim::Unary(f), &["i64[n,5]"], &["n=3"]);
    }
    cases.prim(Prim::Unary(Unary::Not), &["bool[4]"], &[""]);
    let arithmetic = [Binary::Add, Binary::Sub, Binary::Mul, Binary::GuardedDiv, Binary::Min, Binary::Max];
    let compared = [Binary::Equal, Binary::Less, Binary::LessOrEqual];
    for f in arithmetic.into_iter().chain(compared) {
        cases.prim(Prim::Binary(f), &["f32[n,1,5]", "f32[4,5]"], &["n=3"]);
        cases.prim(Prim::Binary(f), &["i64[n,5]", "i64[]"], &["n=30"]);
    }
    for f in [Binary::Div, Binary::Mod] {
        for t in ["f32", "i64"] {
            cases.add(&format!("{f:?} {t}"), &["n=9"], |b| {
                let x = b.input("a", ty(&format!("{t}[n,5]")));
                let y = b.input("b", ty(&format!("{t}[5]")));
                let unit = b.scalar_like(1.0, y);
                let y = b.unary(Unary::Abs, y);
                let y = b.plus(y, unit);
                let minus = b.unary(Unary::Neg, y);
                vec![b.binary(f, x, y), b.binary(f, x, minus)]
            });
        }
    }
    cases.add("Pow", &["n=4"], |b| {
        let x = b.input("a", ty("f32[n,5]"));
        let (two, half) = (b.scalar_like(2.0, x), b.scalar_like(0.5, x));
        let positive = b.unary(Unary::Abs, x);
        vec![b.binary(Binary::Pow, x, two), b.binary(Binary::Pow, positive, half)]
    });
    for f in [Binary::And, Binary::Or, Binary::Xor, Binary::Equal] {
        cases.prim(Prim::Binary(f), &["bool[n,3]", "bool[3]"], &["n=4"]);
    }
    for t in ["f32", "i64", "bool"] {
        let operand = format!("{t}[n,3]");
        cases.prim(Prim::Select, &["bool[n,1]", &operand, &format!("{t}[3]")], &["n=5"]);
    }
    for (from, to) in [("f32", DType::I64), ("i64", DType::F32), ("bool", DType::F32), ("f32", DType::Bool)] {
        cases.prim(Prim::Cast(prim::Cast { to }), &[&format!("{from}[n,3]")], &["n=5"]);
    }
    cases.add("constants of other types", &[""], |b| {
        let x = b.input("a", ty("f32[3]"));
        let half = values(&ty("f16[3]"), 5);
        let half = b.constant("half", half);
        let half = b.cast(half, DType::F32);
        vec![b.plus(x, half)]
    });
    cases.check();
}

#[test]
fn reductions() {
    let mut cases = Cases::default();
    for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
        for (axes, keep) in
            [(vec![0], false), (vec![1], true), (vec![0, 2], false), (vec![0, 1, 2], false), (vec![], true)]
        {
            cases.prim(
                Prim::Reduce(prim::Reduce { kind, axes: axes.clone(), keep }),
                &["f32[n,3,2]"],
                &["n=2"],
            );
            cases.prim(Prim::Reduce(prim::Reduce { kind, axes, keep }), &["i64[n,3,2]"], &["n=2"]);
        }
    }
    for kind in [Reduction::ArgMax, Reduction::ArgMin] {
        for (axis, keep) in [(0, false), (2, true)] {
            cases.prim(
                Prim::Reduce(prim::Reduce { kind, axes: vec![axis], keep }),
                &["f32[n,3,20]"],
                &["n=5"],
            );
            cases.prim(
                Prim::Reduce(prim::Reduce { kind, axes: vec![axis], keep }),
                &["i64[n,3,20]"],
                &["n=5"],
            );
        }
    }
    for axis in 0..3 {
        cases.prim(Prim::Softmax(prim::Softmax { axis }), &["f32[n,3,4]"], &["n=2"]);
    }
    cases.check();
}

#[test]
fn products() {
    let mut cases = Cases::default();
    let parts =
        [Transform::Id, Transform::Abs, Transform::Pos, Transform::Neg, Transform::Square, Transform::One];
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        let a = if ta { "4,n" } else { "n,4" };
        let c = if tb { "3,4" } else { "4,3" };
        for part in parts {
            let prim = Prim::MatMul(prim::MatMul { a: part, b: Transform::Abs, ta, tb });
            cases.prim(prim.clone(), &[&format!("f32[{a}]"), &format!("f32[{c}]")], &["n=2", "n=5"]);
            cases.prim(prim.clone(), &[&format!("f32[2,1,{a}]"), &format!("f32[3,{c}]")], &["n=2"]);
            cases.prim(prim, &[&format!("f32[m,{a}]"), &format!("f32[{c}]")], &["n=2 m=3"]);
        }
        let plain = Prim::MatMul(prim::MatMul { a: Transform::Id, b: Transform::Id, ta, tb });
        cases.prim(plain.clone(), &[&format!("f32[{a}]"), &format!("f32[{c}]")], &["n=2"]);
        cases.prim(plain, &[&format!("i64[{a}]"), &format!("i64[{c}]")], &["n=2"]);
    }
    cases.check();
}

#[test]
fn convolutions() {
    let mut cases = Cases::default();
    for w in windows().into_iter().filter(|w| !w.ceil) {
        for (space, sizes) in spatial(w.rank()) {
            for (groups, part, bias) in [(1, Transform::Id, true), (2, Transform::Abs, false)] {
                let geometry = ConvGeometry { window: w.clone(), groups };
                cases.add(&format!("conv {geometry} {space:?}"), &sizes, |b| {
                    let x = b.input("x", image("4", &space));
                    let kernel = w.kernel.iter().map(|k| format!(",{k}")).collect::<String>();
                    let weight = b.input("w", ty(&format!("f32[6,{}{kernel}]", 4 / groups)));
                    let bias = bias.then(|| b.input("bias", ty("f32[6]")));
                    let y = b.conv(&geometry, x, weight, part, bias);
                    let r = b.unary(Unary::Tanh, y);
                    let back = b.conv_transpose(&geometry, r, weight, part, &space);
                    vec![y, back]
                });
            }
        }
    }
    cases.check();
}

#[test]
fn window_sums() {
    let mut cases = Cases::default();
    for w in windows() {
        for (space, sizes) in spatial(w.rank()) {
            cases.add(&format!("sum {w} {space:?}"), &sizes, |b| {
                let x = b.input("x", image("3", &space));
                let y = b.window_sum(&w, x);
                let half = b.scale(y, 0.5);
                let back = b.add(prim::WindowSumTranspose { window: w.clone(), to: space.clone() }, &[half]);
                vec![y, back]
            });
        }
    }
    // One window that covers everything, and symbolic channels.
    let all = window(&[4, 5], &[1, 1], [&[0, 0], &[0, 0]], &[1, 1], false);
    cases.prim(
        Prim::WindowSumTranspose(prim::WindowSumTranspose { window: all, to: dims(&["4", "5"]) }),
        &["f32[n,3,1,1]"],
        &["n=2"],
    );
    let three = window(&[3], &[2], [&[1], &[1]], &[2], false);
    cases.prim(Prim::WindowSum(prim::WindowSum(three)), &["f32[2,c,h]"], &["c=3 h=9"]);
    let wide = window(&[2], &[2], [&[3], &[2]], &[1], false);
    cases.prim(Prim::WindowSum(prim::WindowSum(wide)), &["f32[n,c,h]"], &["n=2 c=3 h=9"]);
    cases.check();
}

#[test]
fn window_maxima() {
    let mut cases = Cases::default();
    for w in windows() {
        for (space, sizes) in spatial(w.rank()) {
            cases.add(&format!("max {w} {space:?}"), &sizes, |b| {
                let x = b.input("x", image("3", &space));
                // Few values, so that maxima tie.
                let x = b.unary(Unary::Sign, x);
                let y = b.add(prim::WindowMax(w.clone()), &[x]);
                let r = b.scalar_like(0.7, y);
                let r = b.plus(y, r);
                let [all, first] = [false, true]
                    .map(|first| b.add(prim::WindowMaxShare { window: w.clone(), first }, &[x, y, r]));
                vec![y, all, first]
            });
        }
    }
    cases.check();
}

#[test]
fn movement() {
    let mut cases = Cases::default();
    let shape = |t: &str| ty(&format!("f32[{t}]")).shape;
    for (from, to) in [
        ("n,3,4", "n,12"),
        ("n,3,4", "3*n,4"),
        ("n,12", "n,3,4"),
        ("n,h,6", "n*h,6"),
        ("n,h,6", "n,2,3,h"),
        ("n,h,6", "2,n,h,3"),
        ("n,h,6", "h,n,6"),
        ("2,3", "6"),
        ("n,3", "n,1,3,1"),
    ] {
        let prim = Prim::Reshape(prim::Reshape { to: shape(to) });
        cases.prim(prim, &[&format!("f32[{from}]")], &["n=2 h=3", "n=1 h=2"]);
    }
    for (from, to) in [("n,1", "n,4"), ("", "n,3"), ("1,4", "n,4"), ("n,1,4", "2,n,h,4"), ("3", "2,3")] {
        cases.add(&format!("expand {from} {to}"), &["n=2 h=3", "n=1 h=1"], |b| {
            // The symbols' source.
            b.input("s", ty("f32[n,h]"));
            let x = b.input("a", ty(&format!("f32[{from}]")));
            vec![b.add(prim::Expand { to: shape(to) }, &[x])]
        });
    }
    for t in ["f32", "i64", "bool"] {
        let prim = Prim::Transpose(prim::Transpose { perm: vec![2, 0, 1] });
        cases.prim(prim, &[&format!("{t}[n,3,4]")], &["n=2"]);
        cases.prim(
            Prim::Concat(prim::Concat { axis: 1 }),
            &[&format!("{t}[n,h]"), &format!("{t}[n,2]")],
            &["n=2 h=3"],
        );
    }
    cases.prim(Prim::Concat(prim::Concat { axis: 0 }), &["f32[3]"], &[""]);
    let slices: [(&str, &str, &str, i64); 12] = [
        ("8", "2", "3", 1),
        ("8", "1", "3", 2),
        ("8", "7", "8", -1),
        ("8", "6", "3", -2),
        ("8", "6", "3", -3),
        ("8", "0", "8", 1),
        ("h", "1", "h-1", 1),
        ("h", "0", "h-2", 1),
        ("h", "h-2", "2", 1),
        ("h", "h-1", "h", -1),
        ("h", "h-1", "h-2", -1),
        ("2*h", "2*h-1", "h", -2),
    ];
    for (dimension, start, len, step) in slices {
        for axis in [0, 1] {
            let (from, taken) = match axis {
                0 => (format!("{dimension},n"), format!("{len},n")),
                _ => (format!("n,{dimension},2"), format!("n,{len},2")),
            };
            let (start, to, len) = (dim(start), dim(dimension), dim(len));
            let sizes = ["n=2 h=4", "n=1 h=5"];
            cases.add(&format!("slice {from} {start} {len} {step}"), &sizes, |b| {
                b.input("s", ty("f32[n,h]"));
                let x = b.input("a", ty(&format!("f32[{from}]")));
                let part = Prim::Slice(prim::Slice { axis, start: start.clone(), len, step });
                let y = b.input("b", ty(&format!("f32[{taken}]")));
                let back = Prim::SliceTranspose(prim::SliceTranspose { axis, start, to, step });
                vec![b.add(part, &[x]), b.add(back, &[y])]
            });
        }
    }
    let modes = [
        PadMode::Constant(0.0),
        PadMode::Constant(-1.5),
        PadMode::Constant(f32::NEG_INFINITY),
        PadMode::Reflect,
        PadMode::Edge,
    ];
    for mode in modes {
        let known = Prim::Pad(prim::Pad { before: dims(&["0", "2"]), after: dims(&["0", "1"]), mode });
        cases.prim(known, &["f32[n,4]"], &["n=2"]);
        let symbolic = Prim::Pad(prim::Pad { before: dims(&["0", "h-1"]), after: dims(&["0", "1"]), mode });
        cases.prim(symbolic, &["f32[n,h]"], &["n=2 h=3"]);
    }
    let mode = PadMode::Constant(2.0);
    cases.prim(
        Prim::Pad(prim::Pad { before: dims(&["1"]), after: dims(&["0"]), mode }),
        &["i64[n]"],
        &["n=2"],
    );
    cases.check();
}

#[test]
fn attentions() {
    let mut cases = Cases::default();
    let (q, k, v, y) = ("f32[n,2,h,4]", "f32[n,2,5,4]", "f32[n,2,5,3]", "f32[n,2,h,3]");
    for guard in [false, true] {
        let geometry = AttentionGeometry { scale: 0.3, guard };
        for mask in [None, Some("f32[n,1,1,5]"), Some("f32[h,5]"), Some("f32[1,2,h,1]")] {
            let types: Vec<&str> = [q, k, v].into_iter().chain(mask).collect();
            cases.prim(Prim::Attention(prim::Attention(geometry)), &types, &["n=2 h=3"]);
            let types: Vec<&str> = [q, k, v, y].into_iter().chain(mask).collect();
            for part in
                [AttentionPart::Query, AttentionPart::Key, AttentionPart::Value, AttentionPart::Dropped]
            {
                for value in [0.5, 1.0] {
                    cases.prim(
                        Prim::AttentionShare(prim::AttentionShare { geometry, value, part }),
                        &types,
                        &["n=2 h=3"],
                    );
                }
            }
        }
    }
    cases.check();
}

#[test]
fn overwriting() {
    let mut cases = Cases::default();
    for (data, rest) in [("5", ""), ("6,2", ",2"), ("5,n,3", ",n,3")] {
        for index in ["i64", "i32"] {
            let types = [format!("f32[{data}]"), format!("{index}[1]"), format!("f32[1{rest}]")];
            cases.prim(Prim::Overwrite, &[&types[0], &types[1], &types[2]], &["n=2"]);
        }
    }
    cases.check();
}

#[test]
fn choices() {
    let mut cases = Cases::default();
    for x in ["f32[n,3]", "i64[5]", "bool[2,n,2]"] {
        cases.prim(Prim::NonZero, &[x], &["n=4"]);
    }
    for (axis, largest) in [(0, true), (1, false)] {
        cases.prim(Prim::TopK(prim::TopK { axis, k: dim("n"), largest }), &["f32[6,5]"], &["n=3"]);
    }
    cases.check();
}

#[test]
fn indices() {
    let mut cases = Cases::default();
    // Values of the test are in -4..=4.
    for (axis, data, at) in [(0, "5,n", "7"), (1, "n,5", "h,3"), (1, "n,6,2", ""), (2, "2,n,5", "n,h")] {
        for index in ["i64", "i32"] {
            let types = [format!("f32[{data}]"), format!("{index}[{at}]")];
            cases.prim(Prim::Gather(prim::Gather { axis }), &[&types[0], &types[1]], &["n=2 h=3"]);
            let mut updates: Vec<&str> = data.split(',').collect();
            updates.splice(axis..=axis, at.split(',').filter(|d| !d.is_empty()));
            let types = [format!("f32[{}]", updates.join(",")), format!("{index}[{at}]")];
            cases.prim(
                Prim::ScatterAdd(prim::ScatterAdd { axis, to: dim("6") }),
                &[&types[0], &types[1]],
                &["n=2 h=3"],
            );
        }
    }
    cases.prim(
        Prim::ScatterAdd(prim::ScatterAdd { axis: 0, to: dim("n+4") }),
        &["f32[n,2]", "i64[n]"],
        &["n=3", "n=9"],
    );
    cases.prim(Prim::Iota(prim::Iota { len: dim("7") }), &[], &[""]);
    for (dims, values) in [(vec![2], vec!["3", "4"]), (vec![], vec!["7"]), (vec![1, 1], vec!["5"])] {
        let values = values.iter().map(|v| dim(v)).collect();
        cases.prim(Prim::Dims(prim::Dims { dims, values }), &[], &[""]);
    }
    cases.add("dimensions as values", &["n=2 h=7", "n=3 h=8"], |b| {
        b.input("a", ty("f32[n,h]"));
        let mut add = |prim| b.add(prim, &[]);
        let values = dims(&["n", "3", "floor(h-1/(2))+1", "n*h-2*n"]);
        vec![
            add(Prim::Dims(prim::Dims { dims: vec![2, 2], values })),
            add(Prim::Dims(prim::Dims { dims: vec![], values: dims(&["h"]) })),
            add(Prim::Dims(prim::Dims { dims: vec![1], values: dims(&["h"]) })),
            add(Prim::Iota(prim::Iota { len: dim("n*h") })),
        ]
    });
    cases.check();
}

#[test]
fn equal_bodies_are_one_function() {
    let program = program(|b| {
        let x = b.input("a", ty("f32[n,4]"));
        let y = b.input("b", ty("f32[n,4]"));
        let z = b.guarded_div(x, y);
        let z2 = b.guarded_div(z, y);
        vec![b.guarded_div(z2, z)]
    });
    let model = dlbc_artifact::write(&program).unwrap();
    assert_eq!(model.functions.len(), 1);
    assert_eq!(model.functions[0].name(), "GuardedDiv");
}
