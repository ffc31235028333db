//! Weights that a file stores in fewer bits than 32: neither the program, nor a plan, nor an artifact holds a float32 copy of them.

use dlbc_ops::prim::Prim;
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;
use dlbc_proto::onnx::{ModelProto, NodeProto, TensorProto};
use dlbc_proto::{DataType, Limits, write};
use dlbc_runtime::{Request, Tensors};

use crate::common::*;

/// Rows of the table, and features of every layer.
const ROWS: u64 = 512;
const WIDTH: u64 = 128;

/// A model under construction: a look-up in a table, and layers of `WIDTH` features.
#[derive(Default)]
struct Layers {
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
}

impl Layers {
    fn tensor(&mut self, name: &str, dtype: DataType, dims: &[u64], bytes: Vec<u8>) {
        self.weights.push(write::tensor(name, dtype, dims, bytes));
    }

    fn floats(&mut self, name: &str, dims: &[u64], values: &[f32]) {
        self.tensor(name, DataType::F32, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    fn node(&mut self, op: &str, inputs: &[&str], output: &str, to_float: bool) {
        let attributes = if to_float { vec![write::attr_int("to", 1)] } else { vec![] };
        self.nodes.push(write::node(op, output, inputs, &[output], attributes));
    }

    /// Adds `y = relu(x · w)`.
    fn product(&mut self, x: &str, w: &str, y: &str) {
        let sum = format!("{y}.sum");
        self.node("MatMul", &[x, w], &sum, false);
        self.node("Relu", &[&sum], y, false);
    }

    fn model(self) -> ModelProto {
        let ids = write::value_info("ids", DataType::I64, &[write::Dim::Value(6)]);
        let y = write::value_info("y", DataType::F32, &[write::Dim::Unknown, write::Dim::Unknown]);
        let graph = write::graph("layers", self.nodes, self.weights, vec![ids], vec![y]);
        write::model(graph, vec![write::opset("", 21), write::opset("com.microsoft", 1)])
    }
}

/// Bytes that look random.
fn bytes(n: u64) -> Vec<u8> {
    let mixed = |i: u64| {
        let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    (0..n).map(|i| (mixed(i) >> 56) as u8).collect()
}

/// Values of 16 bits whose magnitudes are around 0.01.
fn halves(n: u64, exponent: u8) -> Vec<u8> {
    bytes(n).into_iter().flat_map(|b| [b, exponent | (b & 0x80)]).collect()
}

/// The model with weights of all kinds, and the number of bytes that the file has of them. With `rounds`, the last layer rounds its
/// operand.
fn compact(rounds: bool) -> (ModelProto, u64) {
    let (mut layers, elems) = (Layers::default(), WIDTH * WIDTH);
    // int8 by `Cast`, `Sub` and `Mul`.
    layers.tensor("table.q", DataType::I8, &[ROWS, WIDTH], bytes(ROWS * WIDTH));
    layers.floats("table.zero", &[], &[3.0]);
    layers.floats("table.scale", &[], &[0.01]);
    layers.node("Cast", &["table.q"], "table.f", true);
    layers.node("Sub", &["table.f", "table.zero"], "table.c", false);
    layers.node("Mul", &["table.c", "table.scale"], "table", false);
    layers.node("Gather", &["table", "ids"], "x0", false);
    // Halves, through `Cast` or as they are.
    layers.tensor("w1.h", DataType::F16, &[WIDTH, WIDTH], halves(elems, 0x20));
    layers.node("Cast", &["w1.h"], "w1", true);
    layers.product("x0", "w1", "x1");
    layers.tensor("w2.b", DataType::Bf16, &[WIDTH, WIDTH], halves(elems, 0x3c));
    layers.node("Cast", &["w2.b"], "w2", true);
    layers.product("x1", "w2", "x2");
    // uint8 with a scale for each column, transposed; int4 and uint4 in blocks.
    let scales: Vec<f32> = (0..WIDTH).map(|i| 1e-3 + i as f32 * 1e-5).collect();
    layers.tensor("w3.q", DataType::U8, &[WIDTH, WIDTH], bytes(elems));
    layers.tensor("w3.zero", DataType::U8, &[WIDTH], vec![128; WIDTH as usize]);
    layers.floats("w3.scale", &[WIDTH], &scales);
    layers.node("DequantizeLinear", &["w3.q", "w3.scale", "w3.zero"], "w3.t", false);
    layers.node("Transpose", &["w3.t"], "w3", false);
    layers.product("x2", "w3", "x3");
    let scales: Vec<f32> = (0..elems / 32).map(|i| 1e-2 + i as f32 * 1e-5).collect();
    layers.tensor("w4.q", DataType::I4, &[WIDTH, WIDTH], bytes(elems / 2));
    layers.floats("w4.scale", &[WIDTH / 32, WIDTH], &scales);
    let blocks = vec![write::attr_int("axis", 0), write::attr_int("block_size", 32)];
    layers.nodes.push(write::node("DequantizeLinear", "w4", &["w4.q", "w4.scale"], &["w4"], blocks));
    layers.product("x3", "w4", "x4");
    layers.tensor("w5.q", DataType::U8, &[WIDTH, WIDTH / 32, 16], bytes(elems / 2));
    layers.floats("w5.scale", &[elems / 32], &scales);
    let sizes = [("K", WIDTH), ("N", WIDTH), ("bits", 4), ("block_size", 32)];
    let sizes = sizes.map(|(name, v)| write::attr_int(name, v as i64)).to_vec();
    let inputs = ["x4", "w5.q", "w5.scale"];
    layers.nodes.push(write::node_in("com.microsoft", "MatMulNBits", "x5", &inputs, &["x5"], sizes));
    // int8 by a product of whole numbers.
    layers.tensor("w6.q", DataType::I8, &[WIDTH, WIDTH], bytes(elems));
    layers.floats("w6.scale", &[WIDTH], &vec![0.01; WIDTH as usize]);
    if rounds {
        let operands = ["x5", "w6.q", "w6.scale"];
        let node = write::node_in("com.microsoft", "DynamicQuantizeMatMul", "y", &operands, &["y"], vec![]);
        layers.nodes.push(node);
    } else {
        layers.node("DequantizeLinear", &["w6.q", "w6.scale"], "w6", false);
        layers.node("MatMul", &["x5", "w6"], "y", false);
    }
    let stored = layers.weights.iter().map(|t| t.raw_data.as_ref().map_or(0, |b| b.len() as u64)).sum();
    (layers.model(), stored)
}

fn constants(program: &Program) -> Vec<&Tensor> {
    let constant = |id| match program.graph.op(id) {
        Prim::Const(t) => Some(t),
        _ => None,
    };
    program.graph.nodes().filter_map(constant).collect()
}

/// Returns the number of bytes of the constants of a program, without those of few elements.
fn held(program: &Program) -> u64 {
    constants(program).iter().filter(|t| t.elems() > 1000).map(|t| t.memory_bytes() as u64).sum()
}

/// Compiles the model; with `plain`, all constants are float32.
fn compiled(model: &ModelProto, plain: bool) -> Program {
    let model = dlbc_proto::decode(&dlbc_proto::encode(model), &Limits::default()).unwrap();
    let mut program = dlbc_compiler::compile(&model, &dlbc_compiler::Options::default()).unwrap().program;
    let ids: Vec<_> = program.graph.nodes().collect();
    for id in ids.into_iter().filter(|_| plain) {
        if let Prim::Const(t) = program.graph.op(id)
            && t.as_compact().is_some()
        {
            let t = Tensor::from_f32(t.dims(), &t.to_f32());
            program.graph.node_mut(id).op = Prim::Const(t);
        }
    }
    program
}

#[test]
fn no_float32_copy_of_a_weight_is_in_memory() {
    let (model, stored) = compact(true);
    let program = compiled(&model, false);
    let limit = stored + stored / 10;
    let floats = 4 * (ROWS * WIDTH + 6 * WIDTH * WIDTH);
    assert!(floats > 3 * limit, "the model is small enough for the test");
    assert!(held(&program) <= limit, "the program holds {} bytes of {stored}", held(&program));
    let inputs = Tensors::from([("ids".into(), Tensor::from_i64(&[6], &[1, 500, 7, 7, 0, -1]))]);
    let session = cpu(program.clone(), 2);
    let explanation = explain(&session, &inputs, &Request::default().ledger());
    // The engine's copies are of scalars and vectors; tensors of the program are shared.
    let copies = session.memory().unwrap().0.constant_bytes;
    assert!(copies < 16 << 10, "plans hold copies of {copies} bytes");
    assert!(held(&program) <= limit, "a run widens weights: {} bytes of {stored}", held(&program));
    let expected = explain(&cpu(compiled(&model, true), 2), &inputs, &Request::default().ledger());
    assert_eq!(explanation.outputs["y"].bytes(), expected.outputs["y"].bytes());
    for (name, relevance) in &expected.supporting.relevance {
        assert_eq!(explanation.supporting.relevance[name].bytes(), relevance.bytes(), "{name}");
        assert!(relevance.to_f32().iter().any(|v| *v != 0.0), "{name} has no relevance");
    }
}

#[test]
fn an_artifact_stores_weights_as_the_file_does() {
    let (model, stored) = compact(true);
    let program = compiled(&model, false);
    let bytes = dlbc_proto::encode(&dlbc_artifact::write(&program).unwrap());
    // The forward and the rules take some kilobytes of text.
    assert!((bytes.len() as u64) < stored + stored / 10 + (400 << 10), "{} bytes", bytes.len());
    let artifact = dlbc_proto::decode(&bytes, &Limits::default()).unwrap();
    let reread = dlbc_artifact::read(&artifact).unwrap();
    assert!(held(&reread) <= stored + stored / 10, "{} bytes of {stored}", held(&reread));
    let inputs = Tensors::from([("ids".into(), Tensor::from_i64(&[6], &[1, 500, 7, 7, 0, -1]))]);
    let results = [program, reread].map(|program| explain(&cpu(program, 1), &inputs, &Request::default()));
    assert_eq!(results[0].outputs["y"], results[1].outputs["y"]);
    assert_eq!(results[0].supporting.relevance, results[1].supporting.relevance);
}

#[test]
fn an_export_widens_weights_in_onnx_runtime() {
    let (model, _) = compact(false);
    let folder = tempfile::tempdir().unwrap();
    let [path, arrays] = ["explained.onnx", "ids.npz"].map(|name| folder.path().join(name));
    let program = compiled(&model, false);
    dlbc_proto::write_model(&path, &dlbc_artifact::export(&program, &Default::default()).unwrap()).unwrap();
    let ids = [1, 500, 7, 7, 0, 511];
    let mut writer = ndarray_npy::NpzWriter::new(std::fs::File::create(&arrays).unwrap());
    writer.add_array("ids", &ndarray::arr1(&ids)).unwrap();
    writer.finish().unwrap();
    let inputs = Tensors::from([("ids".into(), Tensor::from_i64(&[6], &ids))]);
    let Some(results) = onnx_runtime(&[(path, arrays)]) else { return };
    let expected = explain(&cpu(program, 1), &inputs, &Request::default());
    for (name, relevance) in &expected.supporting.relevance {
        let gap = relative_l1(&results[0][&format!("relevance/{name}")], relevance);
        assert!(gap <= 1e-4, "{name}: {gap:e}");
    }
}

#[test]
fn descriptions_of_constants_that_do_not_match_are_damaged() {
    let (model, _) = compact(true);
    let artifact = dlbc_artifact::write(&compiled(&model, false)).unwrap();
    let text = |m: &ModelProto| {
        let model = dlbc_proto::decode(&dlbc_proto::encode(m), &Limits::default()).unwrap();
        dlbc_artifact::read(&model).err().map(|e| e.to_string())
    };
    assert_eq!(text(&artifact), None);
    let changes = [
        ("\"len\":128", "\"len\":18446744073709551615"),
        ("\"len\":128", "\"len\":0"),
        ("\"block\":32", "\"block\":0"),
        ("\"block\":32", "\"block\":16"),
        ("\"bits\":4", "\"bits\":8"),
        ("\"bits\":4", "\"bits\":5"),
        ("\"bits\":16", "\"bits\":64"),
        ("\"dims\":[512,128]", "\"dims\":[512,127]"),
        ("\"dims\":[512,128]", "\"dims\":[18446744073709551615,18446744073709551615]"),
        ("/numbers\"", "/missing\""),
    ];
    for (from, to) in changes {
        let mut damaged = artifact.clone();
        let mut changed = 0;
        for node in &mut damaged.graph.as_mut().unwrap().node {
            for entry in node.metadata_props.iter_mut().filter(|entry| entry.key() == "dlbc.constant") {
                changed += usize::from(entry.value().contains(from));
                entry.value = Some(entry.value().replace(from, to));
            }
        }
        assert!(changed > 0, "no description has {from}");
        let message = text(&damaged).unwrap_or_else(|| panic!("{from} → {to} is read"));
        assert!(message.contains("constant: expected"), "{from} → {to}: {message}");
    }
}
