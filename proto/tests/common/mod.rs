//! Small models for the tests.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;

use dlbc_proto::{
    DataType, ErrorKind, Limits, Model, ProtoError, decode, encode,
    onnx::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataLocation},
    read_model, write,
};

/// A model with these initializers and one node.
pub fn model_of(initializers: Vec<TensorProto>) -> ModelProto {
    let dims = [write::Dim::Symbol("n".into()), write::Dim::Value(2)];
    let graph = write::graph(
        "g",
        vec![write::node("Relu", "/relu", &["x"], &["y"], vec![])],
        initializers,
        vec![write::value_info("x", DataType::F32, &dims)],
        vec![write::value_info("y", DataType::F32, &dims)],
    );
    write::model(graph, vec![write::opset("", 17)])
}

/// A model whose graph has these nodes.
pub fn model_with(nodes: Vec<NodeProto>) -> ModelProto {
    write::model(write::graph("g", nodes, vec![], vec![], vec![]), vec![write::opset("", 17)])
}

/// `depth` graphs in one another, each in an attribute of a node of the one around it.
pub fn nested(depth: usize) -> ModelProto {
    let mut graph = GraphProto::default();
    for _ in 1..depth {
        let node = write::node("If", "", &["c"], &["y"], vec![write::attr_graph("then_branch", graph)]);
        graph = write::graph("g", vec![node], vec![], vec![], vec![]);
    }
    write::model(graph, vec![write::opset("", 17)])
}

/// A tensor of type `dtype` with no elements yet.
pub fn bare(dtype: DataType, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some("w".into()),
        data_type: Some(dtype.to_onnx()),
        dims: dims.to_vec(),
        ..TensorProto::default()
    }
}

/// A tensor of bytes in a file, described by these keys and values.
pub fn external(dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: entries.iter().map(|(key, value)| write::metadata(key, value)).collect(),
        ..bare(DataType::U8, dims)
    }
}

/// Reads the bytes of a model with default limits.
pub fn read(model: &ModelProto) -> Result<Model, ProtoError> {
    decode(&encode(model), &Limits::default())
}

/// Resolves the only tensor of a model in memory.
pub fn resolve(tensor: TensorProto) -> Result<dlbc_proto::TensorData, ProtoError> {
    let model = read(&model_of(vec![tensor]))?;
    model.tensor(&model.graph().initializer[0])
}

/// Writes a model with `tensor` into `folder` as `model.onnx` and resolves the tensor from there.
pub fn resolve_in(
    folder: &Path,
    tensor: TensorProto,
    limits: &Limits,
) -> Result<dlbc_proto::TensorData, ProtoError> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, encode(&model_of(vec![tensor]))).unwrap();
    let model = read_model(&path, limits)?;
    model.tensor(&model.graph().initializer[0])
}

/// Checks kind and message of an error. The message is that of the whole chain.
#[track_caller]
pub fn assert_refused<T>(result: Result<T, ProtoError>, kind: ErrorKind, message: &str) {
    let error = result.err().expect("expected an error");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(message), "expected `{message}` in: {text}");
    assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
}
