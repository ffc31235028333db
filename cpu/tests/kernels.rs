//! The CPU backend's kernels against the float64 reference, on random geometries.

#![allow(clippy::unwrap_used, missing_docs)]

use dlbc_backend::{AsViews, Backend, Outputs, ReferenceBackend, RunControl, SessionOptions, Tensors};
use dlbc_cpu::CpuBackend;
use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::prim::{
    self, Binary, Builder, ConvGeometry, Factor, Prim, Reduction, Transform, Unary, Window,
};
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{DType, Dim, Tensor, TensorType};

/// A deterministic source of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0).collect()
    }

    fn tensor(&mut self, dims: &[usize]) -> Tensor {
        let values = self.values(dims.iter().product());
        Tensor::from_f32(dims, &values)
    }

    fn positive(&mut self, dims: &[usize]) -> Tensor {
        let values: Vec<f32> = self.values(dims.iter().product()).iter().map(|v| v.abs() + 0.1).collect();
        Tensor::from_f32(dims, &values)
    }

    fn transform(&mut self) -> Transform {
        [Transform::Id, Transform::Abs, Transform::Pos, Transform::Neg, Transform::Square, Transform::One]
            [self.below(6)]
    }
}

fn known(dims: &[usize]) -> TensorType {
    TensorType::new(DType::F32, dims.iter().map(|d| Dim::known(*d as i64)).collect::<Vec<_>>())
}

/// A program under test and its inputs by name.
struct Case {
    builder: Builder,
    inputs: Tensors,
}

impl Case {
    fn new() -> Case {
        Case { builder: Builder::new(), inputs: Tensors::new() }
    }

    fn input(&mut self, name: &str, t: Tensor) -> Value {
        let v = self.builder.input(name, known(t.dims()));
        self.inputs.insert(name.into(), t);
        v
    }

    /// Compares the CPU backend, with one and with two threads, to the reference.
    fn check(mut self, what: &str, outputs: &[Value]) {
        self.builder.ok().unwrap_or_else(|e| panic!("{what}: {e}"));
        let names: Vec<Output> = (0..outputs.len()).map(|i| Output::Model(format!("y{i}").into())).collect();
        for (name, v) in names.iter().zip(outputs) {
            self.builder.graph_mut().add_output(name.clone(), *v);
        }
        let graph = self.builder.finish();
        let run = |backend: &dyn Backend, threads: usize| run(backend, &graph, &names, &self.inputs, threads);
        let expected = run(&ReferenceBackend, 1);
        let single = run(&CpuBackend, 1);
        let double = run(&CpuBackend, 2);
        for name in &names {
            assert_eq!(
                single[name].bytes(),
                double[name].bytes(),
                "{what}: threads change the bits of {name}"
            );
            let (a, b) = (expected[name].to_f64(), single[name].to_f64());
            assert_eq!(expected[name].dims(), single[name].dims(), "{what}: {name}");
            let scale: f64 = a.iter().map(|v| v.abs()).sum::<f64>().max(1e-30);
            let error: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum();
            assert!(error / scale < 2e-6, "{what}: {name} differs by {:.1e}", error / scale);
        }
    }
}

fn run(
    backend: &dyn Backend,
    graph: &Graph<Prim>,
    names: &[Output],
    inputs: &Tensors,
    threads: usize,
) -> Outputs {
    let options = SessionOptions::new().threads(threads);
    let plan = backend.prepare(graph, names, &[], &options).unwrap();
    plan.forward(&inputs.views(), &RunControl::default()).unwrap().0
}

fn window(random: &mut Random, rank: usize, kernel: usize) -> Window {
    let kernel: Vec<usize> = (0..rank).map(|_| random.within(1, kernel)).collect();
    let dilations: Vec<usize> = (0..rank).map(|_| random.within(1, 2)).collect();
    let pads = |random: &mut Random| -> Vec<usize> {
        (0..rank).map(|i| random.below((kernel[i] - 1) * dilations[i] + 1)).collect()
    };
    Window {
        before: pads(random),
        after: pads(random),
        strides: (0..rank).map(|_| random.within(1, 3)).collect(),
        ceil: random.below(3) == 0,
        kernel,
        dilations,
    }
}

/// Draws spatial dimensions that the window fits, less than `range` larger than its extent.
fn spatial(random: &mut Random, window: &Window, range: usize) -> Vec<usize> {
    (0..window.rank()).map(|i| window.extent(i) + random.below(range)).collect()
}

#[test]
fn convolutions_and_their_adjoints() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for i in 0..120 {
        let rank = random.within(1, 3);
        let mut w = window(&mut random, rank, 3);
        w.ceil = false;
        let space = spatial(&mut random, &w, [60, 14, 5][rank - 1]);
        let groups = random.within(1, 3);
        // Channels per group: one, a few, or more than the rows of a tile.
        let (c, o) = match random.below(3) {
            0 => (1, random.within(1, 3)),
            1 => (random.within(1, 6), random.within(1, 6)),
            _ => (random.within(3, 20), random.within(40, 70)),
        };
        let n = random.within(1, 3);
        let mut case = Case::new();
        let x = random.positive(&[&[n, groups * c], &space[..]].concat());
        let weight = random.tensor(&[&[groups * o, c], &w.kernel[..]].concat());
        let bias = random.positive(&[groups * o]);
        let what = format!("case {i}: {w} groups {groups}, c {c}, o {o}, {space:?}");
        let geometry = ConvGeometry { window: w, groups };
        let x = case.input("x", x);
        let transform = random.transform();
        let b = &mut case.builder;
        let weight = b.constant("w", weight);
        let bias = (random.below(2) == 0).then(|| b.constant("b", bias));
        let y = b.conv(&geometry, x, weight, transform, bias);
        let dims: Vec<Dim> = b.ty(y).shape.0.clone();
        let shape: Vec<usize> = dims.iter().map(|d| d.as_known().unwrap() as usize).collect();
        let s = random.tensor(&shape);
        let s = case.input("s", s);
        let b = &mut case.builder;
        // A quotient by a sum with cancellation has no significant digits.
        let quotient = if transform == Transform::Abs { b.guarded_div(s, y) } else { b.mul(y, s) };
        let to: Vec<Dim> = b.ty(x).shape.0[2..].to_vec();
        let adjoint = Prim::ConvTranspose(prim::ConvTranspose { geometry, w: transform, to });
        let back = b.add(adjoint, &[s, weight]);
        let times = b.mul(back, x);
        case.check(&what, &[quotient, times]);
    }
}

#[test]
fn convolutions_of_large_planes_and_narrow_ones() {
    let mut random = Random(77);
    for (c, o, kernel, stride, side) in
        [(3, 20, 7, 2, 75), (16, 24, 3, 1, 40), (40, 130, 1, 1, 36), (70, 90, 3, 1, 7), (64, 200, 1, 2, 9)]
    {
        let pad = kernel / 2;
        let window = Window {
            strides: vec![stride; 2],
            before: vec![pad; 2],
            after: vec![pad; 2],
            ..Window::unit(&[kernel; 2])
        };
        let geometry = ConvGeometry { window, groups: 1 };
        let mut case = Case::new();
        let x = random.tensor(&[2, c, side, side]);
        let weight = random.tensor(&[o, c, kernel, kernel]);
        let x = case.input("x", x);
        let b = &mut case.builder;
        let weight = b.constant("w", weight);
        let y = b.conv(&geometry, x, weight, Transform::Abs, None);
        let relu = b.unary(Unary::Relu, y);
        let to: Vec<Dim> = b.ty(x).shape.0[2..].to_vec();
        let back = b.add(prim::ConvTranspose { geometry, w: Transform::Abs, to }, &[relu, weight]);
        case.check(&format!("{o}x{c}x{kernel}, stride {stride}, side {side}"), &[relu, back]);
    }
}

/// Unusual windows: as wide as their plane, widely dilated, without overlap, of one and of three axes, and depthwise.
#[test]
fn convolutions_of_unusual_windows() {
    let mut random = Random(1234);
    // Name; channels in, channels out and groups; kernel; plane; stride, dilation and padding.
    type Unusual<'a> = (&'a str, [usize; 3], &'a [usize], &'a [usize], [usize; 3]);
    let cases: [Unusual<'_>; 10] = [
        ("strips of one row", [2, 520, 1], &[3, 3], &[11, 300], [2, 1, 1]),
        ("as wide as the plane", [1, 100, 1], &[3, 30], &[20, 30], [1, 1, 0]),
        ("far apart", [5, 30, 1], &[3, 3], &[20, 20], [1, 6, 6]),
        ("patches", [3, 40, 1], &[8, 8], &[48, 40], [8, 1, 0]),
        ("a long line", [3, 5, 1], &[9], &[5000], [1, 1, 4]),
        ("a long line of steps", [6, 9, 1], &[10], &[8000], [5, 1, 0]),
        ("a volume", [3, 6, 1], &[3, 3, 3], &[12, 12, 12], [1, 1, 1]),
        ("alone, in steps", [1, 1, 12], &[5, 5], &[31, 29], [2, 1, 2]),
        ("alone, on a small plane", [1, 1, 40], &[5, 5], &[7, 7], [1, 1, 2]),
        ("alone, reaching far beyond the plane", [1, 2, 3], &[2, 2], &[4, 4], [1, 50, 50]),
    ];
    for (what, [c, o, groups], kernel, space, [stride, dilation, pad]) in cases {
        let rank = kernel.len();
        let window = Window {
            kernel: kernel.to_vec(),
            strides: vec![stride; rank],
            before: vec![pad; rank],
            after: vec![pad; rank],
            dilations: vec![dilation; rank],
            ceil: false,
        };
        let geometry = ConvGeometry { window, groups };
        let mut case = Case::new();
        let x = random.tensor(&[&[2, groups * c], space].concat());
        let weight = random.tensor(&[&[groups * o, c], kernel].concat());
        let x = case.input("x", x);
        let b = &mut case.builder;
        let weight = b.constant("w", weight);
        let y = b.conv(&geometry, x, weight, Transform::Id, None);
        let clipped = b.unary(Unary::Clip { min: Some(0.0), max: Some(0.5) }, y);
        let to: Vec<Dim> = b.ty(x).shape.0[2..].to_vec();
        let back = b.add(prim::ConvTranspose { geometry, w: Transform::Abs, to }, &[clipped, weight]);
        case.check(what, &[clipped, back]);
    }
}

#[test]
fn products_with_a_matrix() {
    let mut random = Random(99);
    for rows in [1, 2, 4, 5, 60, 300] {
        for transposed in [false, true] {
            for (k, n) in [(1, 1), (7, 3), (130, 70), (300, 700)] {
                let mut case = Case::new();
                let x = random.positive(&[rows, k]);
                let weight = random.tensor(&if transposed { [n, k] } else { [k, n] });
                let bias = random.positive(&[n]);
                let r = random.tensor(&[rows, n]);
                let transform = random.transform();
                let (x, r) = (case.input("x", x), case.input("r", r));
                let b = &mut case.builder;
                let (weight, bias) = (b.constant("w", weight), b.constant("b", bias));
                let y = b.matmul(x, Factor::transformed(weight, transform).transpose_if(transposed));
                let y = b.plus(y, bias);
                let y = if transform == Transform::Abs { b.guarded_div(r, y) } else { b.mul(y, r) };
                case.check(&format!("{rows}x{k}x{n} {transposed} {transform:?}"), &[y]);
            }
        }
    }
}

/// Rows of zeros are skipped by the product but not by its epilogue.
#[test]
fn products_of_rows_most_of_which_are_zero() {
    let mut random = Random(57);
    for (rows, k, n) in [(12, 40, 30), (60, 130, 70), (300, 300, 700)] {
        for live in [0, 1, 3, rows / 2, rows / 2 + 1] {
            let mut case = Case::new();
            let mut values = vec![0.0; rows * k];
            for row in 0..live {
                let at = (row * 7 % rows) * k;
                values[at..at + k].copy_from_slice(&random.values(k));
            }
            let (weight, bias) = (random.tensor(&[k, n]), random.positive(&[n]));
            let x = case.input("x", Tensor::from_f32(&[rows, k], &values));
            let b = &mut case.builder;
            let (weight, bias) = (b.constant("w", weight), b.constant("b", bias));
            let y = b.matmul(x, Factor::transformed(weight, Transform::Abs));
            let y = b.plus(y, bias);
            case.check(&format!("{live} of {rows}x{k}x{n}"), &[y]);
        }
    }
}

#[test]
fn windows() {
    let mut random = Random(5);
    for i in 0..120 {
        let rank = random.within(1, 3);
        let w = window(&mut random, rank, 3);
        let space = spatial(&mut random, &w, [40, 12, 5][rank - 1]);
        let mut case = Case::new();
        // Few values, so that maxima tie.
        let dims = [&[random.within(1, 2), random.within(1, 5)], &space[..]].concat();
        let values: Vec<f32> =
            (0..dims.iter().product::<usize>()).map(|_| random.below(4) as f32 - 1.0).collect();
        let x = case.input("x", Tensor::from_f32(&dims, &values));
        let b = &mut case.builder;
        let max = b.add(prim::WindowMax(w.clone()), &[x]);
        let sum = b.add(prim::WindowSum(w.clone()), &[x]);
        let shape: Vec<usize> = b.ty(max).shape.as_known().unwrap();
        let r = random.tensor(&shape);
        let r = case.input("r", r);
        let b = &mut case.builder;
        let to: Vec<Dim> = b.ty(x).shape.0[2..].to_vec();
        let share = b.add(prim::WindowMaxShare { window: w.clone(), first: false }, &[x, max, r]);
        let first = b.add(prim::WindowMaxShare { window: w.clone(), first: true }, &[x, max, r]);
        let spread = b.add(prim::WindowSumTranspose { window: w.clone(), to }, &[r]);
        case.check(&format!("case {i}: {w} on {dims:?}"), &[max, sum, share, first, spread]);
    }
}

#[test]
fn elementwise_with_every_broadcast() {
    let mut random = Random(31);
    let full = [3usize, 5, 4, 7];
    for mask in 0..16usize {
        for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::GuardedDiv, Binary::Max] {
            let dims: Vec<usize> =
                full.iter().enumerate().map(|(i, d)| if mask >> i & 1 == 1 { *d } else { 1 }).collect();
            let mut case = Case::new();
            let (a, b) = (random.positive(&full), random.positive(&dims));
            let (a, b) = (case.input("a", a), case.input("b", b));
            let g = &mut case.builder;
            let quotient = g.binary(op, a, b);
            let reversed = g.binary(op, b, a);
            // An expression of several nodes, one of them read twice.
            let magnitude = g.unary(Unary::Abs, quotient);
            let sum = g.plus(magnitude, b);
            let share = g.guarded_div(a, sum);
            let twice = g.mul(share, magnitude);
            case.check(&format!("{op:?} by {dims:?}"), &[quotient, reversed, twice]);
        }
    }
}

/// Operands with the shape of the result, with a single element, and with other broadcasts.
#[test]
fn choices_and_comparisons() {
    let mut random = Random(41);
    let full: &[usize] = &[3, 70, 100];
    for dims in [[full, full], [full, &[1]], [&[1], full], [full, &[70, 1]], [&[1, 1, 1], &[1]]] {
        for f in [Binary::Equal, Binary::Less, Binary::LessOrEqual] {
            let mut case = Case::new();
            let [a, b] = dims.map(|dims| {
                let few: Vec<f32> = (0..dims.iter().product()).map(|_| random.below(3) as f32).collect();
                Tensor::from_f32(dims, &few)
            });
            let [u, v] = dims.map(|dims| random.tensor(dims));
            let (a, b) = (case.input("a", a), case.input("b", b));
            let (u, v) = (case.input("u", u), case.input("v", v));
            let g = &mut case.builder;
            let holds = g.binary(f, a, b);
            let selected = g.add(Prim::Select, &[holds, u, v]);
            let unit = g.constant("one", Tensor::from_f32(&[1], &[1.0]));
            let always = g.binary(f, unit, unit);
            let other = g.add(Prim::Select, &[always, u, v]);
            case.check(&format!("{f:?} of {dims:?}"), &[selected, other]);
        }
    }
}

#[test]
fn a_choice_broadcasts_all_three() {
    let mut random = Random(43);
    let cases: [[&[usize]; 3]; 6] = [
        [&[3, 70, 1], &[1, 70, 100], &[1]],
        [&[70, 1], &[3, 70, 100], &[100]],
        [&[100], &[3, 1, 1], &[3, 70, 1]],
        [&[3, 1, 1], &[3, 70, 100], &[]],
        [&[1, 3, 1, 5], &[2, 1, 4, 1], &[4, 5]],
        [&[2, 40_000], &[2, 1], &[40_000]],
    ];
    for [condition, a, b] in cases {
        let mut case = Case::new();
        let [c, u, v] = [("c", condition), ("u", a), ("v", b)].map(|(name, dims)| {
            let tensor = random.tensor(dims);
            case.input(name, tensor)
        });
        let g = &mut case.builder;
        let zero = g.constant("zero", Tensor::from_f32(&[1], &[0.0]));
        let holds = g.binary(Binary::Less, c, zero);
        let selected = g.add(Prim::Select, &[holds, u, v]);
        case.check(&format!("{condition:?} {a:?} {b:?}"), &[selected]);
    }
}

#[test]
fn activations() {
    let mut random = Random(8);
    let functions = [
        Unary::Abs,
        Unary::Neg,
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 0.7 },
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::HardSwish,
        Unary::Clip { min: Some(-0.3), max: None },
        Unary::Clip { min: None, max: Some(0.4) },
        Unary::Clip { min: Some(-0.3), max: Some(0.4) },
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Exp,
        Unary::Erf,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Sign,
        Unary::Floor,
        Unary::Ceil,
        Unary::Round,
        Unary::Sin,
        Unary::Cos,
    ];
    for f in functions {
        // More elements than a task of the expression kernel.
        let mut case = Case::new();
        let x = random.tensor(&[2, 20_003]);
        let x = case.input("x", x);
        let y = case.builder.unary(f, x);
        case.check(&format!("{f:?}"), &[y]);
    }
}

#[test]
fn reductions_over_any_axes() {
    let mut random = Random(64);
    let dims = [3usize, 4, 5, 6];
    for mask in 1..16usize {
        for kind in [Reduction::Sum, Reduction::Max, Reduction::Min, Reduction::Prod] {
            for keep in [false, true] {
                let axes: Vec<usize> = (0..4).filter(|i| mask >> i & 1 == 1).collect();
                let mut case = Case::new();
                let x = random.tensor(&dims);
                let x = case.input("x", x);
                let y = case.builder.add(prim::Reduce { kind, axes: axes.clone(), keep }, &[x]);
                case.check(&format!("{kind:?} over {axes:?}"), &[y]);
            }
        }
    }
}

/// A million equal terms. A sum in float32 would lose five of its digits.
#[test]
fn long_sums_are_exact() {
    let mut case = Case::new();
    let x = case.input("x", Tensor::from_f32(&[1, 1_000_003], &vec![0.1; 1_000_003]));
    let y = case.builder.add(prim::Reduce { kind: Reduction::Sum, axes: vec![1], keep: false }, &[x]);
    case.check("a million terms", &[y]);
}
