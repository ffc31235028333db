//! Conservation in deep sums of one sign, on tensor cores that truncate what they add.

use crate::common::*;
use dlbc_compiler::{Options, compile};
use dlbc_cuda::{CudaBackend, Precision};
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;
use dlbc_proto::write::{self, Dim, node};
use dlbc_proto::{Bytes, DataType, Limits};
use dlbc_ptxsim::Simulator;
use dlbc_runtime::{Request, Session, SessionOptions, Target, Tensors};

/// Bound on what the ledger loses, relative to the starting relevance: a step's truncation in each layer.
const OPEN: f64 = 3.0 / (1 << 20) as f64;
/// Rows of the input; enough for tensor cores.
const ROWS: u64 = 33;
/// Widths of the layers.
const WIDTHS: [u64; 5] = [14336, 40, 4096, 48, 5];

/// Draws numbers in (0, 1), the same on every run.
fn draw(count: u64, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 + 0.5) / (1u64 << 24) as f32
    };
    (0..count).map(next).collect()
}

/// A network of linear layers and ReLUs whose weights are positive.
fn network() -> Program {
    let (mut nodes, mut weights) = (vec![], vec![]);
    for (i, pair) in WIDTHS.windows(2).enumerate() {
        let [x, w, z, y] = [format!("x{i}"), format!("w{i}"), format!("z{i}"), format!("x{}", i + 1)];
        let scale = 1.0 / pair[0] as f32;
        let values = draw(pair[0] * pair[1], i as u64 + 1);
        let bytes: Vec<u8> = values.iter().flat_map(|v| (v * scale).to_le_bytes()).collect();
        weights.push(write::tensor(&w, DataType::F32, pair, Bytes::from(bytes)));
        nodes.push(node("MatMul", &z, &[&x, &w], &[&z], vec![]));
        nodes.push(node("Relu", &y, &[&z], &[&y], vec![]));
    }
    let dims = |width: u64| [Dim::Value(ROWS), Dim::Value(width)];
    let (input, output) = (
        write::value_info("x0", DataType::F32, &dims(WIDTHS[0])),
        write::value_info("x4", DataType::F32, &dims(WIDTHS[4])),
    );
    let graph = write::graph("deep", nodes, weights, vec![input], vec![output]);
    let bytes = dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]));
    let model = dlbc_proto::decode(&bytes, &Limits::default()).unwrap();
    compile(&model, &Options::default()).unwrap().program
}

#[test]
fn relevance_is_conserved_through_deep_sums_of_one_sign() {
    let program = network();
    let x = Tensor::from_f32(&[ROWS as usize, WIDTHS[0] as usize], &draw(ROWS * WIDTHS[0], 9));
    let inputs = Tensors::from([("x0".to_string(), x)]);
    let request = Request::new().ledger().target(Target::Index(0));
    let mut faults = vec![];
    for precision in [Precision::Tf32x3, Precision::Tf32, Precision::Bf16] {
        for truncates in [false, true] {
            let device = Simulator::default();
            let device = if truncates { device.truncating() } else { device };
            let backend = CudaBackend::new(Box::new(device)).with_precision(precision);
            let session =
                Session::new(program.clone(), Box::new(backend), SessionOptions::default()).unwrap();
            let ledger = explain(&session, &inputs, &request).supporting;
            let passed = ledger.input_sums.values().sum::<f64>() + ledger.absorbed;
            let open = (passed - ledger.seed_sum) / ledger.seed_sum;
            println!("{precision:?}, truncating {truncates}: the ledger is open by {open:+.2e}");
            // Operands of coarser precisions are rounded in the reverse as in the forward, and each rounding is fair.
            let bound = if precision == Precision::Tf32x3 { OPEN } else { 2e-3 };
            if open.is_nan() || open.abs() > bound {
                faults.push(format!("{precision:?}, truncating {truncates}: open by {open:e}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
