//! Recurrent layers: relevance against a loop written from the rules, layouts, long sequences, operands that do not fit.

use crate::common::*;
use dlbc_compiler::{CompileError, Options, compile};
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;
use dlbc_proto::onnx::{AttributeProto, ModelProto, NodeProto};
use dlbc_proto::write::{self, Dim, attr_int, attr_ints, node};
use dlbc_proto::{Bytes, DataType, Limits, Model};
use dlbc_runtime::{Request, Target, Tensors};

const T: usize = 4;
const B: usize = 2;
const F: usize = 3;
const H: usize = 2;

/// Reproducible values in -1..1.
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn weight(name: &str, dims: &[u64], seed: u64) -> dlbc_proto::onnx::TensorProto {
    let values = values(dims.iter().product::<u64>() as usize, seed);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    write::tensor(name, DataType::F32, dims, Bytes::from(bytes))
}

/// `x` through a layer `op`, its last states as the output `y [batch, hidden]`.
fn model(op: &str, x: &[Dim], weights: [&[u64]; 3], attributes: Vec<AttributeProto>) -> ModelProto {
    let batch_first = attributes.iter().any(|a| a.name() == "layout");
    let layer: NodeProto = node(op, "layer", &["x", "w", "r", "b"], &["", "h"], attributes);
    let axis = i64::from(batch_first);
    let axes = write::tensor("axes", DataType::I64, &[1], Bytes::from(axis.to_le_bytes().to_vec()));
    let last = node("Squeeze", "last", &["h", "axes"], &["y"], vec![]);
    let mut initializers = vec![axes];
    for (name, (dims, seed)) in ["w", "r", "b"].iter().zip(weights.iter().zip(1..)) {
        initializers.push(weight(name, dims, seed));
    }
    let input = write::value_info("x", DataType::F32, x);
    let output = write::value_info("y", DataType::F32, &[Dim::Unknown, Dim::Unknown]);
    let graph = write::graph("layer", vec![layer, last], initializers, vec![input], vec![output]);
    write::model(graph, vec![write::opset("", 17)])
}

fn compiled(model: &ModelProto) -> Result<Program, CompileError> {
    let bytes = dlbc_proto::encode(model);
    let model: Model = dlbc_proto::decode(&bytes, &Limits::default()).unwrap();
    compile(&model, &Options::default()).map(|c| c.program)
}

fn known(dims: &[u64]) -> Vec<Dim> {
    dims.iter().map(|d| Dim::Value(*d)).collect()
}

fn lstm() -> ModelProto {
    let (t, b, f, h) = (T as u64, B as u64, F as u64, H as u64);
    let weights: [&[u64]; 3] = [&[1, 4 * h, f], &[1, 4 * h, h], &[1, 8 * h]];
    model("LSTM", &known(&[t, b, f]), weights, vec![attr_int("hidden_size", h as i64)])
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn share(r: f64, c: f64, z: f64) -> f64 {
    if z == 0.0 { 0.0 } else { r * c.abs() / z }
}

/// An LSTM of one sequence, and the relevance of its elements by the steps that the default composite has for it.
struct Cell {
    w: Vec<f64>,
    r: Vec<f64>,
    b: Vec<f64>,
}

impl Cell {
    fn new() -> Cell {
        let wide = |n: usize, seed: u64| values(n, seed).into_iter().map(f64::from).collect::<Vec<f64>>();
        let b = wide(8 * H, 3);
        let b = (0..4 * H).map(|i| b[i] + b[4 * H + i]).collect();
        Cell { w: wide(4 * H * F, 1), r: wide(4 * H * H, 2), b }
    }

    /// Returns the sums of the element's and the state's products for unit `j` of gate `g` (input, output, forget, cell).
    fn sums(&self, g: usize, j: usize, x: &[f64], h: &[f64]) -> (f64, f64) {
        let row = g * H + j;
        let of_x: f64 = (0..F).map(|k| self.w[row * F + k] * x[k]).sum();
        let of_h: f64 = (0..H).map(|k| self.r[row * H + k] * h[k]).sum();
        (of_x + self.b[row], of_h)
    }

    /// Returns the relevance of the elements if unit `unit` of the last state has the seed `start`.
    fn explain(&self, x: &[Vec<f64>], unit: usize, start: f64) -> Vec<Vec<f64>> {
        let (mut h, mut c) = (vec![vec![0.0; H]], vec![vec![0.0; H]]);
        for (t, x) in x.iter().enumerate() {
            let gate = |g: usize, j: usize| {
                let (a, r) = self.sums(g, j, x, &h[t]);
                a + r
            };
            let cell: Vec<f64> = (0..H)
                .map(|j| sigmoid(gate(2, j)) * c[t][j] + sigmoid(gate(0, j)) * gate(3, j).tanh())
                .collect();
            let hidden = (0..H).map(|j| sigmoid(gate(1, j)) * cell[j].tanh()).collect();
            c.push(cell);
            h.push(hidden);
        }
        let mut relevance = vec![vec![0.0; F]; x.len()];
        let (mut r_h, mut r_c) = (vec![0.0; H], vec![0.0; H]);
        r_h[unit] = start;
        for t in (0..x.len()).rev() {
            // The output gate passes all relevance to the cell.
            for j in 0..H {
                r_c[j] += r_h[j];
            }
            let mut before = vec![0.0; H];
            for j in 0..H {
                let ((a0, h0), (a2, h2), (a3, h3)) = (
                    self.sums(0, j, &x[t], &h[t]),
                    self.sums(2, j, &x[t], &h[t]),
                    self.sums(3, j, &x[t], &h[t]),
                );
                let (retained, new) = (sigmoid(a2 + h2) * c[t][j], sigmoid(a0 + h0) * (a3 + h3).tanh());
                let r_new = share(r_c[j], new, retained.abs() + new.abs());
                r_c[j] = share(r_c[j], retained, retained.abs() + new.abs());
                // The candidate: the element's map and the state's, then each map by its contributions.
                let (r_a, r_r) =
                    (share(r_new, a3, a3.abs() + h3.abs()), share(r_new, h3, a3.abs() + h3.abs()));
                let row = 3 * H + j;
                let of_x: Vec<f64> = (0..F).map(|k| self.w[row * F + k] * x[t][k]).collect();
                let z: f64 = of_x.iter().map(|v| v.abs()).sum::<f64>() + self.b[row].abs();
                for k in 0..F {
                    relevance[t][k] += share(r_a, of_x[k], z);
                }
                let of_h: Vec<f64> = (0..H).map(|k| self.r[row * H + k] * h[t][k]).collect();
                let z: f64 = of_h.iter().map(|v| v.abs()).sum();
                for k in 0..H {
                    before[k] += share(r_r, of_h[k], z);
                }
            }
            r_h = before;
        }
        relevance
    }
}

fn request(unit: i64) -> Request {
    Request::new().target(Target::Index(unit)).ledger()
}

#[test]
fn an_lstm_is_explained_step_by_step_backwards() {
    let program = compiled(&lstm()).unwrap();
    let x = values(T * B * F, 9);
    let inputs = Tensors::from([("x".to_string(), Tensor::from_f32(&[T, B, F], &x))]);
    for unit in 0..H {
        let expected: Vec<Vec<Vec<f64>>> = (0..B)
            .map(|b| {
                let row = |t: usize| x[(t * B + b) * F..][..F].iter().map(|v| f64::from(*v)).collect();
                let elements: Vec<Vec<f64>> = (0..T).map(row).collect();
                Cell::new().explain(&elements, unit, 100.0)
            })
            .collect();
        for session in [reference(program.clone()), cpu(program.clone(), 2)] {
            let actual = explain(&session, &inputs, &request(unit as i64));
            let relevance = actual.supporting.relevance["x"].to_f64();
            for (i, r) in relevance.iter().enumerate() {
                let (t, b, k) = (i / (B * F), i / F % B, i % F);
                let reference_value = expected[b][t][k];
                assert!(
                    (r - reference_value).abs() < 1e-4,
                    "{} x[{t},{b},{k}]: expected {reference_value}, found {r}",
                    session.backend_name()
                );
            }
            for row in actual.supporting.ledger.unwrap() {
                assert!(row.residual().abs() < 1e-4, "{row:?}");
            }
        }
    }
}

#[test]
fn batch_first_is_the_same_layer() {
    let (t, b, f, h) = (T as u64, B as u64, F as u64, H as u64);
    for (op, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let weights: [&[u64]; 3] = [&[1, gates * h, f], &[1, gates * h, h], &[1, 2 * gates * h]];
        let hidden = || attr_int("hidden_size", h as i64);
        let time_first = compiled(&model(op, &known(&[t, b, f]), weights, vec![hidden()])).unwrap();
        let batch_first =
            compiled(&model(op, &known(&[b, t, f]), weights, vec![hidden(), attr_int("layout", 1)])).unwrap();
        let x = values(T * B * F, 9);
        let at = |t: usize, b: usize, k: usize| (t * B + b) * F + k;
        let turned: Vec<f32> = (0..T * B * F).map(|i| x[at(i / F % T, i / (T * F), i % F)]).collect();
        let feed = |dims: [usize; 3], x: &[f32]| Tensors::from([("x".into(), Tensor::from_f32(&dims, x))]);
        let first = explain(&cpu(time_first, 2), &feed([T, B, F], &x), &request(1));
        let second = explain(&cpu(batch_first, 2), &feed([B, T, F], &turned), &request(1));
        let (first, second) =
            (first.supporting.relevance["x"].to_f64(), second.supporting.relevance["x"].to_f64());
        for (i, r) in second.iter().enumerate() {
            let expected = first[at(i / F % T, i / (T * F), i % F)];
            assert!((r - expected).abs() < 1e-5, "{op}: expected {expected}, found {r}");
        }
    }
}

#[test]
fn a_plan_does_not_grow_with_the_sequence() {
    let (f, h) = (F as u64, H as u64);
    let weights: [&[u64]; 3] = [&[2, 4 * h, f], &[2, 4 * h, h], &[2, 8 * h]];
    let lstm_of_length = |time: Dim| {
        let attributes =
            vec![attr_int("hidden_size", h as i64), write::attr_string("direction", "bidirectional")];
        let mut lstm = model("LSTM", &[time, Dim::Value(1), Dim::Value(f)], weights, attributes);
        // Both directions side by side.
        let nodes = &mut lstm.graph.as_mut().unwrap().node;
        nodes[1] = node("Transpose", "last", &["h"], &["turned"], vec![attr_ints("perm", vec![1, 0, 2])]);
        nodes.push(node("Flatten", "flat", &["turned"], &["y"], vec![]));
        compiled(&lstm).unwrap()
    };
    let (short, long, any) = (
        lstm_of_length(Dim::Value(5)),
        lstm_of_length(Dim::Value(500)),
        lstm_of_length(Dim::Symbol("time".into())),
    );
    assert_eq!(short.graph.len(), long.graph.len());
    let x = values(500 * F, 4);
    let session = cpu(any, 2);
    for time in [5, 500] {
        let inputs = Tensors::from([("x".to_string(), Tensor::from_f32(&[time, 1, F], &x[..time * F]))]);
        let actual = explain(&session, &inputs, &request(0));
        let sum: f64 = actual.supporting.input_sums.values().sum();
        assert!(
            (actual.supporting.seed_sum - sum - actual.supporting.absorbed).abs() < 1e-3,
            "{} {sum} {}",
            actual.supporting.seed_sum,
            actual.supporting.absorbed
        );
        if time == 500 {
            let fixed = explain(&cpu(long.clone(), 2), &inputs, &request(0));
            assert_eq!(fixed.supporting.relevance, actual.supporting.relevance);
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let (t, b, f, h) = (T as u64, B as u64, F as u64, H as u64);
    let good: [&[u64]; 3] = [&[1, 4 * h, f], &[1, 4 * h, h], &[1, 8 * h]];
    let hidden = |n: i64| attr_int("hidden_size", n);
    let refused = |weights: [&[u64]; 3], attributes: Vec<AttributeProto>| {
        let error = compiled(&model("LSTM", &known(&[t, b, f]), weights, attributes)).unwrap_err();
        error.to_string()
    };
    for (weights, attributes, part) in [
        ([&[1, 3 * h, f][..], good[1], good[2]], vec![hidden(2)], "shape of W"),
        ([good[0], &[1, 4 * h, h + 1][..], good[2]], vec![hidden(2)], "shape of R"),
        ([good[0], good[1], &[1, 4 * h][..]], vec![hidden(2)], "shape of B"),
        (good, vec![hidden(0)], "hidden_size"),
        (good, vec![hidden(-3)], "hidden_size"),
        (good, vec![hidden(1 << 40)], "shape of W"),
        (good, vec![hidden(2), write::attr_string("direction", "sideways")], "direction"),
        (good, vec![hidden(2), write::attr_strings("activations", &["Tanh"])], "activations"),
        (good, vec![hidden(2), write::attr_strings("activations", &["Sigmoid", "Affine", "Tanh"])], "Affine"),
        (good, vec![hidden(2), attr_int("linear_before_reset", 1)], "linear_before_reset"),
    ] {
        let error = refused(weights, attributes);
        assert!(error.contains(part) && error.contains("layer"), "expected {part:?} in {error}");
    }
}
