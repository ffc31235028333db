//! Quantised files that are wrong: each is an invalid model, and the message names the node and the tensor.

use dlbc_compiler::{ErrorKind, Options, compile};
use dlbc_proto::onnx::{AttributeProto, ModelProto, TensorProto};
use dlbc_proto::{DataType, Limits, write};

fn float(name: &str, values: &[f32]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let dims: &[u64] = if values.len() == 1 { &[] } else { &[values.len() as u64] };
    write::tensor(name, DataType::F32, dims, bytes)
}

fn bytes(name: &str, dtype: DataType, dims: &[u64]) -> TensorProto {
    let size = dtype.size().unwrap_or(1);
    write::tensor(name, dtype, dims, vec![1; (dims.iter().product::<u64>() * size) as usize])
}

/// A node `odd` on a float input of eight columns.
fn model(
    op: &str,
    inputs: &[&str],
    attributes: Vec<AttributeProto>,
    weights: Vec<TensorProto>,
) -> ModelProto {
    let (domain, opsets) = match op {
        "MatMulNBits" => ("com.microsoft", vec![write::opset("", 21), write::opset("com.microsoft", 1)]),
        _ => ("", vec![write::opset("", 21)]),
    };
    let node = write::node_in(domain, op, "odd", inputs, &["y"], attributes);
    let x = write::value_info("x", DataType::F32, &[write::Dim::Value(4), write::Dim::Value(32)]);
    let y = write::value_info("y", DataType::F32, &[write::Dim::Unknown, write::Dim::Unknown]);
    write::model(write::graph("g", vec![node], weights, vec![x], vec![y]), opsets)
}

/// Asserts that a model is invalid with a message that holds all parts.
fn assert_invalid(model: ModelProto, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    std::fs::write(&file, dlbc_proto::encode(&model)).unwrap();
    let proto = dlbc_proto::read_model(&file, &Limits::default()).unwrap();
    let error = compile(&proto, &Options::default()).err().expect("an error");
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
    for part in ["`odd`"].iter().chain(parts) {
        assert!(text.contains(part), "expected `{part}` in: {text}");
    }
}

#[test]
fn scales_that_are_not_positive_are_invalid() {
    for scale in [0.0, -0.5, f32::NAN, f32::INFINITY] {
        let message = format!("expected positive and finite, found {scale}");
        let weights = vec![float("step", &[scale])];
        assert_invalid(model("QuantizeLinear", &["x", "step"], vec![], weights), &["`step`", &message]);
        let weights = vec![bytes("w", DataType::I8, &[32, 4]), float("step", &[scale])];
        assert_invalid(model("DequantizeLinear", &["w", "step"], vec![], weights), &["`step`", &message]);
    }
}

#[test]
fn scales_and_zero_points_fit_their_tensor() {
    let weights = vec![bytes("w", DataType::I8, &[32, 4]), float("step", &[0.5; 3])];
    assert_invalid(model("DequantizeLinear", &["w", "step"], vec![], weights), &["scale `step`"]);
    let weights =
        vec![bytes("w", DataType::I8, &[32, 4]), float("step", &[0.5]), bytes("zero", DataType::I32, &[])];
    let parts = ["zero point `zero`", "expected i8, found i32"];
    assert_invalid(model("DequantizeLinear", &["w", "step", "zero"], vec![], weights), &parts);
    let weights =
        vec![bytes("w", DataType::I8, &[32, 4]), float("step", &[0.5]), bytes("zero", DataType::I8, &[2])];
    let inputs = ["w", "step", "zero"];
    assert_invalid(model("DequantizeLinear", &inputs, vec![], weights), &["zero point `zero`"]);
    let weights = vec![float("step", &[0.5]), bytes("zero", DataType::I64, &[])];
    assert_invalid(model("QuantizeLinear", &["x", "step", "zero"], vec![], weights), &["zero point"]);
}

#[test]
fn packed_weights_have_the_size_that_they_claim() {
    let layer = |n: i64, k: i64| {
        let sizes = [("N", n), ("K", k), ("bits", 4), ("block_size", 16)];
        sizes.map(|(name, value)| write::attr_int(name, value)).to_vec()
    };
    let weights =
        |packed: &[u64], scales: &[f32]| vec![bytes("packed", DataType::U8, packed), float("steps", scales)];
    let inputs = ["x", "packed", "steps"];
    for packed in [&[3, 2, 7][..], &[3, 1, 8], &[48]] {
        let weights = weights(packed, &[0.5; 6]);
        assert_invalid(model("MatMulNBits", &inputs, layer(3, 32), weights), &["packed weight `packed`"]);
    }
    let short = model("MatMulNBits", &inputs, layer(3, 32), weights(&[3, 2, 8], &[0.5; 5]));
    assert_invalid(short, &["`steps`", "expected 6, found 5"]);
    let nan = [0.5, 0.5, f32::NAN, 0.5, 0.5, 0.5];
    let not_finite = model("MatMulNBits", &inputs, layer(3, 32), weights(&[3, 2, 8], &nan));
    assert_invalid(not_finite, &["`steps`", "expected finite, found NaN"]);
    let mut zeros = weights(&[3, 2, 8], &[0.5; 6]);
    zeros.push(bytes("zeros", DataType::U8, &[9]));
    let inputs = ["x", "packed", "steps", "zeros"];
    assert_invalid(
        model("MatMulNBits", &inputs, layer(3, 32), zeros),
        &["`zeros`", "expected 3 bytes, found 9"],
    );
    let huge =
        model("MatMulNBits", &["x", "packed", "steps"], layer(i64::MAX, 32), weights(&[3, 2, 8], &[0.5; 6]));
    assert_invalid(huge, &["N: expected at least 1"]);
}
