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
    let (domain, op) = op.strip_prefix("ms::").map_or(("", op), |op| ("com.microsoft", op));
    let opsets = vec![write::opset("", 21), write::opset("com.microsoft", 1)];
    let node = write::node_in(domain, op, "odd", inputs, &["y"], attributes);
    let size = write::Dim::Value;
    let inputs = vec![
        write::value_info("x", DataType::F32, &[size(4), size(32)]),
        write::value_info("numbers", DataType::U8, &[size(4), size(32)]),
        write::value_info("steps_in_time", DataType::F32, &[size(5), size(1), size(3)]),
        write::value_info("ids", DataType::I64, &[size(2)]),
    ];
    let y = write::value_info("y", DataType::F32, &[write::Dim::Unknown, write::Dim::Unknown]);
    write::model(write::graph("g", vec![node], weights, inputs, vec![y]), opsets)
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
        assert_invalid(model("ms::MatMulNBits", &inputs, layer(3, 32), weights), &["packed weight `packed`"]);
    }
    let short = model("ms::MatMulNBits", &inputs, layer(3, 32), weights(&[3, 2, 8], &[0.5; 5]));
    assert_invalid(short, &["`steps`", "expected 6, found 5"]);
    let nan = [0.5, 0.5, f32::NAN, 0.5, 0.5, 0.5];
    let not_finite = model("ms::MatMulNBits", &inputs, layer(3, 32), weights(&[3, 2, 8], &nan));
    assert_invalid(not_finite, &["`steps`", "expected finite, found NaN"]);
    let mut zeros = weights(&[3, 2, 8], &[0.5; 6]);
    zeros.push(bytes("zeros", DataType::U8, &[9]));
    let inputs = ["x", "packed", "steps", "zeros"];
    assert_invalid(
        model("ms::MatMulNBits", &inputs, layer(3, 32), zeros),
        &["`zeros`", "expected 3 bytes, found 9"],
    );
    let huge = model(
        "ms::MatMulNBits",
        &["x", "packed", "steps"],
        layer(i64::MAX, 32),
        weights(&[3, 2, 8], &[0.5; 6]),
    );
    assert_invalid(huge, &["N: expected at least 1"]);
}

/// A weight of int8 with its scale, and the scales of operand and result of a quantised layer.
fn layer_weights(operand: f32, weight: f32, result: f32) -> Vec<TensorProto> {
    let scales = [("operand", operand), ("weight_step", weight), ("result", result)];
    let mut weights = vec![bytes("w", DataType::I8, &[32, 4]), bytes("zero", DataType::U8, &[])];
    weights.extend(scales.map(|(name, scale)| float(name, &[scale])));
    weights.push(bytes("w_zero", DataType::I8, &[]));
    weights
}

#[test]
fn scales_of_quantised_layers_are_valid() {
    let layers: [(&str, &[&str]); 4] = [
        ("QLinearMatMul", &["numbers", "operand", "zero", "w", "weight_step", "w_zero", "result", "zero"]),
        ("ms::QGemm", &["numbers", "operand", "zero", "w", "weight_step", "w_zero", "", "result", "zero"]),
        ("ms::QLinearAdd", &["numbers", "operand", "zero", "numbers", "operand", "zero", "result", "zero"]),
        ("ms::QLinearSigmoid", &["numbers", "operand", "zero", "result", "zero"]),
    ];
    for (op, inputs) in layers {
        for scale in [0.0, -0.5, f32::NAN] {
            for (name, weights) in
                [("`operand`", layer_weights(scale, 0.5, 0.5)), ("`result`", layer_weights(0.5, 0.5, scale))]
            {
                assert_invalid(model(op, inputs, vec![], weights), &[name, "expected positive and finite"]);
            }
        }
        if inputs.contains(&"w") {
            let weights = layer_weights(0.5, f32::NAN, 0.5);
            assert_invalid(model(op, inputs, vec![], weights), &["`weight_step`", "expected finite"]);
        }
    }
    let product = ["numbers", "w", "operand", "weight_step", "zero", "w_zero"];
    let weights = layer_weights(0.5, f32::NAN, 0.5);
    let nan = model("ms::MatMulIntegerToFloat", &product, vec![], weights);
    assert_invalid(nan, &["`weight_step`", "expected finite, found NaN"]);
}

#[test]
fn zero_points_have_the_type_and_shape_of_their_numbers() {
    let operands = ["numbers", "w", "zero", "w_zero"];
    let weights =
        |zero: TensorProto| vec![bytes("w", DataType::I8, &[32, 4]), bytes("zero", DataType::U8, &[]), zero];
    let other_type = model("MatMulInteger", &operands, vec![], weights(bytes("w_zero", DataType::U8, &[])));
    assert_invalid(other_type, &["zero point `w_zero`", "expected i8, found u8"]);
    let short = model("MatMulInteger", &operands, vec![], weights(bytes("w_zero", DataType::I8, &[3])));
    assert_invalid(short, &["expected [4], found [3]"]);
    let sums =
        vec![bytes("w", DataType::I32, &[32, 4]), float("step", &[0.5]), bytes("zero", DataType::I32, &[])];
    let shifted = model("DequantizeLinear", &["w", "step", "zero"], vec![], sums);
    assert_invalid(shifted, &["zero point `zero` of i32 numbers", "expected 0"]);
}

#[test]
fn packed_tables_have_the_size_that_they_claim() {
    let inputs = ["table", "ids", "steps", "zeros"];
    let attributes = |block: i64| {
        let sizes = [("bits", 4), ("block_size", block), ("quantize_axis", 1)];
        sizes.map(|(name, value)| write::attr_int(name, value)).to_vec()
    };
    let weights = |steps: &[f32], shape: &[u64], zeros: TensorProto| {
        let bytes_of: Vec<u8> = steps.iter().flat_map(|v| v.to_le_bytes()).collect();
        vec![
            bytes("table", DataType::U8, &[7, 16]),
            write::tensor("steps", DataType::F32, shape, bytes_of),
            zeros,
        ]
    };
    let zeros = |columns: u64| bytes("zeros", DataType::U8, &[7, columns]);
    let look_up =
        |block: i64, weights| model("ms::GatherBlockQuantized", &inputs, attributes(block), weights);
    let mut steps = [0.5; 14];
    let too_few = look_up(16, weights(&steps[..7], &[7, 1], zeros(1)));
    assert_invalid(too_few, &["`steps`", "expected [7,2], found [7,1]"]);
    assert_invalid(
        look_up(16, weights(&steps, &[7, 2], zeros(0))),
        &["`zeros`", "expected at least 2 in a row"],
    );
    let rows = bytes("zeros", DataType::U8, &[6, 1]);
    assert_invalid(look_up(16, weights(&steps, &[7, 2], rows)), &["zero point `zeros`"]);
    let wide = bytes("zeros", DataType::I32, &[7, 1]);
    assert_invalid(look_up(16, weights(&steps, &[7, 2], wide)), &["packed numbers `zeros`"]);
    assert_invalid(look_up(0, weights(&steps, &[7, 2], zeros(1))), &["block_size: expected a power of 2"]);
    steps[3] = f32::NAN;
    assert_invalid(
        look_up(16, weights(&steps, &[7, 2], zeros(1))),
        &["`steps`", "expected finite, found NaN"],
    );
}

#[test]
fn scales_and_zero_points_of_recurrent_weights_fit() {
    let inputs = ["steps_in_time", "w", "h", "", "", "", "", "", "ws", "wz", "hs", "wz"];
    let layer = |scale: TensorProto, zero: &[u64]| {
        let mut weights =
            vec![bytes("w", DataType::I8, &[1, 3, 8]), bytes("h", DataType::I8, &[1, 2, 8]), scale];
        weights.extend([float("hs", &[0.5; 8]), bytes("wz", DataType::I8, zero)]);
        weights[3].dims = vec![1, 8];
        model("ms::DynamicQuantizeLSTM", &inputs, vec![write::attr_int("hidden_size", 2)], weights)
    };
    let scale = |values: &[f32], dims: &[i64]| {
        let mut scale = float("ws", values);
        scale.dims = dims.to_vec();
        scale
    };
    assert_invalid(layer(scale(&[f32::NAN], &[1]), &[1]), &["scale `ws`", "expected finite, found NaN"]);
    assert_invalid(
        layer(scale(&[0.5; 3], &[3]), &[1]),
        &["shape of `ws`", "expected [1] or [1, 8], found [3]"],
    );
    assert_invalid(
        layer(scale(&[0.5], &[1]), &[1, 7]),
        &["shape of `wz`", "expected [1] or [1, 8], found [1,7]"],
    );
}
