//! Messages for invalid models, one for each kind of fault, as a snapshot.

use std::fmt::Write;
use std::fs;

use dlbc_proto::onnx::tensor_proto::DataLocation;
use dlbc_proto::onnx::{ModelProto, NodeProto, TensorProto};
use dlbc_proto::{DataType, write};

use crate::common::command::*;

/// `y = Relu(x)`, with these initializers.
fn relu(initializers: Vec<TensorProto>) -> ModelProto {
    nodes(vec![write::node("Relu", "relu", &["x"], &["y"], vec![])], initializers)
}

/// A model of these nodes from `x` f32[n,2] to `y`.
fn nodes(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let dims = [write::Dim::Symbol("n".into()), write::Dim::Value(2)];
    let graph = write::graph(
        "g",
        nodes,
        initializers,
        vec![write::value_info("x", DataType::F32, &dims)],
        vec![write::value_info("y", DataType::F32, &dims)],
    );
    write::model(graph, vec![write::opset("", 17)])
}

/// A model with the tensor `w`, changed.
fn tensor(change: impl Fn(&mut TensorProto)) -> ModelProto {
    let mut tensor = write::tensor("w", DataType::F32, &[2], vec![0; 8]);
    change(&mut tensor);
    nodes(vec![write::node("Add", "add", &["x", "w"], &["y"], vec![])], vec![tensor])
}

/// A model whose tensor `w` is in a file, described by these keys and values.
fn external(entries: &[(&str, &str)]) -> ModelProto {
    tensor(|w| {
        w.raw_data = None;
        w.data_location = Some(DataLocation::External as i32);
        w.external_data = entries.iter().map(|(key, value)| write::metadata(key, value)).collect();
    })
}

fn changed(change: impl Fn(&mut ModelProto)) -> ModelProto {
    let mut model = relu(vec![]);
    change(&mut model);
    model
}

fn models() -> Vec<(&'static str, ModelProto)> {
    let function = |name: &str, calls: &str| {
        let call = write::node_in("d", calls, "call", &["a"], &["b"], vec![]);
        write::function("d", name, &["a"], &["b"], vec![call], vec![write::opset("d", 1)])
    };
    let relu_node = |name: &str, x: &str, y: &str| write::node("Relu", name, &[x], &[y], vec![]);
    vec![
        ("no graph", changed(|m| m.graph = None)),
        ("no ir_version", changed(|m| m.ir_version = None)),
        ("an unknown ir_version", changed(|m| m.ir_version = Some(99))),
        ("no opset", changed(|m| m.opset_import.clear())),
        ("opset 0", changed(|m| m.opset_import[0].version = None)),
        ("two opsets", changed(|m| m.opset_import.push(write::opset("ai.onnx", 18)))),
        ("two functions", changed(|m| m.functions = vec![function("f", "g"), function("f", "g")])),
        ("an element type of the future", tensor(|w| w.data_type = Some(99))),
        ("a negative dimension", tensor(|w| w.dims = vec![-2])),
        ("too many dimensions", tensor(|w| w.dims = vec![1; 999])),
        ("too few bytes", tensor(|w| w.dims = vec![3])),
        ("too few elements", tensor(|w| (w.raw_data, w.float_data) = (None, vec![1.0]))),
        ("elements twice", tensor(|w| w.float_data = vec![1.0, 2.0])),
        ("no elements", tensor(|w| w.raw_data = None)),
        ("elements in a wrong field", tensor(|w| (w.raw_data, w.int64_data) = (None, vec![1, 2]))),
        (
            "an element out of range",
            tensor(|w| {
                (w.raw_data, w.int32_data, w.data_type) = (None, vec![1, 999], Some(DataType::U8.to_onnx()))
            }),
        ),
        ("external data without a location", external(&[])),
        ("external data of an unknown key", external(&[("location", "w.bin"), ("colour", "red")])),
        ("external data of a wrong offset", external(&[("location", "w.bin"), ("offset", "-1")])),
        ("external data outside of the folder", external(&[("location", "../w.bin")])),
        ("external data that is missing", external(&[("location", "w.bin")])),
        ("an input that nothing makes", nodes(vec![relu_node("relu", "z", "y")], vec![])),
        ("an output that nothing makes", nodes(vec![relu_node("relu", "x", "z")], vec![])),
        (
            "two nodes with one output",
            nodes(vec![relu_node("a", "x", "y"), relu_node("b", "x", "y")], vec![]),
        ),
        (
            "an output that is listed twice",
            changed(|m| {
                let output = m.graph.as_ref().unwrap().output[0].clone();
                m.graph.as_mut().unwrap().output.push(output);
            }),
        ),
        ("a cycle", nodes(vec![relu_node("a", "b", "y"), relu_node("b", "y", "b")], vec![])),
        ("an initializer twice", {
            let tensor = || write::tensor("w", DataType::F32, &[2], vec![0; 8]);
            nodes(vec![write::node("Add", "add", &["x", "w"], &["y"], vec![])], vec![tensor(), tensor()])
        }),
        ("no outputs", changed(|m| m.graph.as_mut().unwrap().output.clear())),
        (
            "an input of strings",
            changed(|m| m.graph.as_mut().unwrap().input[0] = write::value_info("x", DataType::String, &[])),
        ),
        ("a function that calls itself", {
            let mut model = nodes(vec![write::node_in("d", "f", "call", &["x"], &["y"], vec![])], vec![]);
            model.functions = vec![function("f", "f")];
            model.opset_import.push(write::opset("d", 1));
            model
        }),
        (
            "an operator of a domain without an opset",
            nodes(vec![write::node_in("ai.onnx.ml", "Scaler", "scale", &["x"], &["y"], vec![])], vec![]),
        ),
        ("an unknown operator", nodes(vec![write::node("Foo", "foo", &["x"], &["y"], vec![])], vec![])),
        (
            "shapes that do not fit",
            nodes(
                vec![write::node("MatMul", "mul", &["x", "w"], &["y"], vec![])],
                vec![write::tensor("w", DataType::F32, &[3, 2], vec![0; 24])],
            ),
        ),
        ("too many operands", nodes(vec![write::node("Relu", "relu", &["x", "x"], &["y"], vec![])], vec![])),
        ("an axis out of range", {
            let axis = vec![write::attr_int("axis", 7)];
            nodes(vec![write::node("Softmax", "softmax", &["x"], &["y"], axis)], vec![])
        }),
        ("a computed step where a known one is needed", {
            let length = |slot: &str| write::tensor(slot, DataType::F32, &[], 1f32.to_le_bytes().to_vec());
            let shape = write::node("Shape", "shape", &["x"], &["s"], vec![write::attr_int("end", 1)]);
            let eye = write::node("ConstantOfShape", "fill", &["s"], &["f"], vec![]);
            let range = write::node("Range", "range", &["a", "b", "f0"], &["r"], vec![]);
            let squeeze = write::node("Squeeze", "squeeze", &["sf"], &["f0"], vec![]);
            let cast = write::node("Cast", "cast", &["s"], &["sf"], vec![write::attr_int("to", 1)]);
            let add = write::node("Add", "add", &["x", "r"], &["y"], vec![]);
            nodes(vec![shape, eye, cast, squeeze, range, add], vec![length("a"), length("b")])
        }),
    ]
}

#[test]
fn messages_for_invalid_models() {
    let folder = folder();
    let (model, out) = (path(&folder, "m.onnx"), path(&folder, "out.onnx"));
    let mut report = String::new();
    for (fault, proto) in models() {
        fs::write(&model, dlbc_proto::encode(&proto)).unwrap();
        let done = dlbc(&[&["compile", &model, "-o", &out, "-q"]]);
        let code = done.code.unwrap();
        assert_ne!(code, 0, "{fault}");
        writeln!(report, "{fault}\nexit code {code}\n{}", done.err.replace(&model, "m.onnx")).unwrap();
    }
    insta::assert_snapshot!("invalid_models", report);
}

/// Mistakes in the file of a composite: what is replaced in that of `lrp-epsilon`, and by what.
const MISTAKES: [(&str, &str); 9] = [
    ("rule = \"epsilon\"", "rule = \"epsilom\""),
    ("role = \"linear\"", "role = \"linea\""),
    ("epsilon = 1e-06", "epsilo = 1e-06"),
    ("epsilon = 1e-06", "epsilon = -1.0"),
    ("place = \"scaler\"", "place = \"scalar\""),
    ("role = \"linear\"\nrule = \"epsilon\"\nepsilon = 1e-06", "role = \"linear\"\nrule = \"pass\""),
    ("role = \"linear\"", "role = \"linear\"\nop = \"Conv\""),
    ("name = ", "name "),
    ("[[rule]]", "[repeat]\nkind = \"smoothgrod\"\n\n[[rule]]"),
];

#[test]
fn messages_for_mistakes_in_composites() {
    let folder = folder();
    let file = path(&folder, "mine.toml");
    let good = dlbc_compiler::built_in_source("lrp-epsilon").unwrap();
    let mut report = String::new();
    for (from, to) in MISTAKES {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from:?}");
        fs::write(&file, text).unwrap();
        let done = dlbc(&[&["inspect", "fixtures/digits_cnn/model.onnx", "--rules", &file, "-q"]]);
        let code = done.code.unwrap();
        assert_ne!(code, 0, "{to:?}");
        writeln!(report, "{to:?}\nexit code {code}\n{}", done.err.replace(&file, "mine.toml")).unwrap();
    }
    insta::assert_snapshot!("composite_mistakes", report);
}
