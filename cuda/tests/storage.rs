//! Constants that are stored in 16 bits: against float64, against the same weights as float32 inputs, and their bytes on the device.
//! Values of a run that are.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_backend::{Backend, ReferenceBackend, SessionOptions};
use dlbc_cuda::{Math, Precision};
use dlbc_ops::graph::Value;
use dlbc_ops::prim::{
    self, Binary, Builder, ConvGeometry, Factor, Prim, Reduction, Transform, Unary, Window,
};
use dlbc_ops::tensor::{Array, DType, Dim, Tensor};

const NARROW: [DType; 2] = [DType::Bf16, DType::F16];

/// Draws values that a narrow type holds, as float32.
fn narrow(r: &mut Random, dims: &[usize], dtype: DType) -> Tensor {
    Array::from_tensor(&r.floats(dims)).to_tensor(dtype).to_f32_tensor()
}

/// Compares a program with constant weights to the reference and, bit for bit, to the same program with weights as inputs, which
/// are float32. `build` gets the input and the weights.
fn compare(name: &str, [x, w]: [&Tensor; 2], build: impl Fn(&mut Builder, Value, Value) -> Value) {
    let constant = graph(std::slice::from_ref(x), |g, v| {
        let w = g.constant("w", w.clone());
        build(g, v[0], w)
    });
    let both = [x.clone(), w.clone()];
    let inputs = graph(&both, |g, v| build(g, v[0], v[1]));
    for precision in [Precision::Tf32x3, Precision::Tf32, Precision::Bf16, Precision::Simt] {
        let backend = simulator().with_precision(precision);
        let name = format!("{name}, {precision:?}");
        let stored = run(&backend, &constant, &both[..1]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let widened = run(&backend, &inputs, &both).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(stored, widened, "{name}: other bits than with float32 weights");
        let bound = match precision {
            Precision::Tf32x3 | Precision::Simt => 1e-5,
            Precision::Tf32 => 4e-3,
            Precision::Bf16 => 4e-2,
        };
        let expected = run(&ReferenceBackend, &inputs, &both).unwrap().to_f64();
        let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (i, (f, e)) in stored.to_f64().iter().zip(&expected).enumerate() {
            assert!((f - e).abs() <= bound * largest, "{name}: element {i} is {f}, expected {e}");
        }
    }
    let device = |graph, weights: usize| {
        let plan = simulator().prepare(graph, &["y".into()], &[], &SessionOptions::default()).unwrap();
        assert_eq!(plan.memory().constant_bytes, weights as u64, "{name}");
    };
    device(&constant, (2 * w.elems()).next_multiple_of(4));
    device(&inputs, 0);
}

#[test]
fn products_read_narrow_weights() {
    let mut r = Random::new(41);
    for dtype in NARROW {
        // Tensor cores with copies of 16 bytes and without, one tile and a large one, few rows, and scalar threads.
        for (m, n, k, transposed) in [
            (40, 72, 88, false),
            (40, 72, 88, true),
            (33, 71, 89, true),
            (1500, 1408, 16, true),
            (4, 264, 136, false),
            (4, 264, 136, true),
            (3, 401, 99, true),
            (12, 24, 240, false),
            (700, 30, 200, true),
        ] {
            let (x, w) =
                (r.floats(&[m, k]), narrow(&mut r, &if transposed { [n, k] } else { [k, n] }, dtype));
            for transform in [Transform::Id, Transform::Abs, Transform::Neg] {
                let differs = transform == Transform::Id || m < 1000;
                if !differs || transform == Transform::Neg && (n, transposed) != (72, true) {
                    continue;
                }
                let op = prim::MatMul { a: Transform::Id, b: transform, ta: false, tb: transposed };
                let name = format!("{dtype} {m}x{n}x{k}, {transposed}, {transform:?}");
                compare(&name, [&x, &w], |g, x, w| g.add(op.clone(), &[x, w]));
            }
        }
        // Two products of the weights in one kernel, and weights on the left.
        let (x, w) = (r.floats(&[40, 64]), narrow(&mut r, &[64, 72], dtype));
        compare(&format!("{dtype}, two sums"), [&x, &w], |g, x, w| {
            let z =
                g.add(prim::MatMul { a: Transform::Id, b: Transform::Pos, ta: false, tb: false }, &[x, w]);
            let a =
                g.add(prim::MatMul { a: Transform::Id, b: Transform::Neg, ta: false, tb: false }, &[x, w]);
            let square = g.add(Prim::Binary(Binary::Mul), &[z, z]);
            g.add(Prim::Binary(Binary::Sub), &[square, a])
        });
        let (x, w) = (r.floats(&[80, 72]), narrow(&mut r, &[64, 80], dtype));
        compare(&format!("{dtype}, on the left"), [&x, &w], |g, x, w| {
            g.add(prim::MatMul { a: Transform::Abs, b: Transform::Id, ta: false, tb: false }, &[w, x])
        });
    }
}

#[test]
fn convolutions_read_narrow_weights() {
    let mut r = Random::new(42);
    for dtype in NARROW {
        for (kernel, stride, groups, channels, outputs) in
            [(3, 1, 1, 16, 40), (3, 2, 1, 15, 40), (1, 1, 1, 64, 72), (5, 1, 9, 27, 36)]
        {
            let pad = kernel / 2;
            let window = Window {
                before: vec![pad; 2],
                after: vec![pad; 2],
                strides: vec![stride; 2],
                ..Window::unit(&[kernel, kernel])
            };
            let geometry = ConvGeometry { window, groups };
            // Enough weights to be stored in 16 bits.
            let w = narrow(&mut r, &[outputs, channels / groups, kernel, kernel], dtype);
            let x = r.floats(&[1, channels, 8, 8]);
            let name = format!("{dtype}, {kernel} by {stride} in {groups}");
            let op = Prim::Conv(prim::Conv { geometry: geometry.clone(), w: Transform::Abs });
            let enough = w.elems() >= 4096;
            if enough {
                compare(&name, [&x, &w], |g, x, w| g.add(op.clone(), &[x, w]));
                let side = 8usize.div_ceil(stride);
                let s = r.floats(&[1, outputs, side, side]);
                let op = Prim::ConvTranspose(prim::ConvTranspose {
                    geometry,
                    w: Transform::Id,
                    to: vec![Dim::known(8); 2],
                });
                compare(&format!("{name}, adjoint"), [&s, &w], |g, s, w| g.add(op.clone(), &[s, w]));
            }
        }
    }
}

#[test]
fn other_readers_get_narrow_constants_widened() {
    let mut r = Random::new(43);
    for dtype in NARROW {
        let (x, w) = (r.floats(&[70, 66]), narrow(&mut r, &[66, 70], dtype));
        compare(&format!("{dtype}, elementwise"), [&x, &w], |g, x, w| {
            // One reader takes the transposed constant as a matrix, another one its elements.
            let t = g.add(prim::Transpose { perm: vec![1, 0] }, &[w]);
            let sum = g.add(Prim::Binary(Binary::Add), &[x, t]);
            let size = g.add(Prim::Unary(Unary::Abs), &[sum]);
            g.matmul(size, Factor::transposed(t))
        });
        let indices: Vec<i64> = (0..50).map(|i| (i * 37) % 66 - 33).collect();
        let indices = Tensor::from_i64(&[50], &indices);
        compare(&format!("{dtype}, rows"), [&indices, &w], |g, indices, w| {
            g.add(prim::Gather { axis: 0 }, &[w, indices])
        });
    }
    // A constant that is narrow in the program, too.
    let (x, wide) = (r.floats(&[40, 66]), narrow(&mut r, &[66, 72], DType::Bf16));
    let stored = Array::from_tensor(&wide).to_tensor(DType::Bf16);
    let build = |w: &Tensor| {
        graph(std::slice::from_ref(&x), |g, v| {
            let w = g.constant("w", w.clone());
            let w = g.add(prim::Cast { to: DType::F32 }, &[w]);
            g.matmul(v[0], w)
        })
    };
    let results = [&stored, &wide].map(|w| run(&simulator(), &build(w), std::slice::from_ref(&x)).unwrap());
    assert_eq!(results[0], results[1]);
}

/// Rounding to bfloat16, relative to the value.
const TO_BF16: f64 = 1.0 / (1 << 9) as f64;

/// Products, rows and elementwise kernels store what only such kernels read in bfloat16, if products round to that type. Each value is
/// off by its rounding and by what those before it were off by.
#[test]
fn values_of_a_run_take_2_bytes_in_bfloat16() {
    let mut r = Random::new(44);
    let [m, k, h, n] = [48, 64, 96, 40];
    let inputs = [r.floats(&[m, k]), r.floats(&[k, h]), r.floats(&[h, n])];
    let program = graph(&inputs, |g, v| {
        let z = g.matmul(v[0], v[1]);
        let squares = g.add(Prim::Binary(Binary::Mul), &[z, z]);
        let sum = g.add(prim::Reduce { kind: Reduction::Sum, axes: vec![1], keep: true }, &[squares]);
        let length = g.add(Prim::Unary(Unary::Sqrt), &[sum]);
        let norm = g.add(Prim::Binary(Binary::Div), &[z, length]);
        let left = g.matmul(norm, v[2]);
        let right = g.matmul(squares, v[2]);
        g.add(Prim::Binary(Binary::Add), &[left, right])
    });
    let bytes = |precision| {
        let backend = simulator().with_precision(precision);
        let plan = backend.prepare(&program, &["y".into()], &[], &SessionOptions::default()).unwrap();
        plan.memory().plan_bytes
    };
    let values = 3 * (m * h) as u64;
    assert!(bytes(Precision::Bf16) + 2 * values <= bytes(Precision::Tf32), "three values of {h} columns");

    let [x, w, v] = inputs.each_ref().map(Tensor::to_f64);
    let errors = [k, h].map(|depth| Math::Bf16.error(depth));
    let results = run(&simulator().with_precision(Precision::Bf16), &program, &inputs).unwrap().to_f64();
    let expected = run(&ReferenceBackend, &program, &inputs).unwrap().to_f64();
    let mut worst: f64 = 0.0;
    for row in 0..m {
        // Values of the row and how far they are off.
        let sum = |j: usize, f: &dyn Fn(f64) -> f64| -> f64 {
            (0..k).map(|i| f(x[row * k + i] * w[i * h + j])).sum()
        };
        let z: Vec<f64> = (0..h).map(|j| sum(j, &|p| p)).collect();
        let rounded = |value: f64, off: f64| off + TO_BF16 * (value.abs() + off);
        let off: Vec<f64> = (0..h).map(|j| rounded(z[j], errors[0] * sum(j, &f64::abs))).collect();
        let squares: Vec<f64> =
            (0..h).map(|j| rounded(z[j] * z[j], (2.0 * z[j].abs() + off[j]) * off[j])).collect();
        let length = z.iter().map(|z| z * z).sum::<f64>().sqrt();
        let shortest = length - off.iter().map(|o| o * o).sum::<f64>().sqrt();
        let norm: Vec<f64> = (0..h)
            .map(|j| rounded(z[j] / length, (off[j] + z[j].abs() * (length - shortest) / length) / shortest))
            .collect();
        for column in 0..n {
            let weight = |j: usize| v[j * n + column].abs();
            let size = |j: usize| (z[j] / length).abs() + norm[j] + z[j] * z[j] + squares[j];
            let bound: f64 = (0..h).map(|j| (norm[j] + squares[j] + errors[1] * size(j)) * weight(j)).sum();
            let at = row * n + column;
            let error = (results[at] - expected[at]).abs();
            assert!(error <= bound, "row {row}, column {column}: off by {error:e}, at most {bound:e}");
            worst = worst.max(error / bound);
        }
    }
    println!("bfloat16 values: at most {worst:.2} of the bound");
}
