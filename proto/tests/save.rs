//! Writing: what is written can be read, and nothing half-done stays.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{assert_refused, bare, external, model_of};
use dlbc_proto::{
    DataType, ErrorKind, Limits, WriteOptions, decode, encode,
    onnx::{AttributeProto, ModelProto, TensorProto},
    read_model, write, write_model, write_model_with,
};

fn files(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A model with something in every field that we know.
fn full() -> ModelProto {
    let mut model = model_of(vec![
        write::tensor("w", DataType::F32, &[2], vec![1; 8]),
        TensorProto { float_data: vec![1.0, 2.0], ..bare(DataType::F32, &[2]) },
        write::string_tensor("s", &[1], vec![b"x".to_vec()]),
    ]);
    model.metadata_props.push(write::metadata("k", "v"));
    model.doc_string = Some("doc".into());
    let graph = model.graph.as_mut().unwrap();
    graph.metadata_props.push(write::metadata("gk", "gv"));
    graph.value_info.push(write::value_info(
        "h",
        DataType::F16,
        &[write::Dim::Unknown, "n".into(), 3.into()],
    ));
    let attributes: Vec<AttributeProto> = vec![
        write::attr_float("float", 1.5),
        write::attr_floats("floats", [1.0, 2.0]),
        write::attr_int("int", -1),
        write::attr_ints("ints", vec![1, i64::MIN]),
        write::attr_string("string", "é"),
        write::attr_strings("strings", &["a", "b"]),
        write::attr_tensor("tensor", write::tensor("", DataType::I8, &[1], vec![255])),
        write::attr_graph("graph", write::graph("inner", vec![], vec![], vec![], vec![])),
    ];
    let mut node = write::node_in("d", "F", "/f", &["x", ""], &["h"], attributes.clone());
    node.overload = Some("o".into());
    node.metadata_props.push(write::metadata("nk", "nv"));
    graph.node.push(node.clone());
    let mut function = write::function("d", "F", &["a"], &["b"], vec![node], vec![write::opset("", 17)]);
    function.attribute_proto = attributes;
    function.attribute.push("required".into());
    model.functions.push(function);
    model
}

#[test]
fn every_field_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let model = full();
    assert_eq!(decode(&encode(&model), &Limits::default()).unwrap().proto, model);
    write_model(&path, &model).unwrap();
    assert_eq!(read_model(&path, &Limits::default()).unwrap().proto, model);
    assert_eq!(fs::metadata(&path).unwrap().len(), encode(&model).len() as u64);
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[test]
fn a_written_file_that_is_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write_model(&path, &full()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length], &Limits::default()).is_err(), "{length}");
    }
}

#[test]
fn big_initializers_go_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let typed =
        TensorProto { name: Some("b".into()), float_data: vec![2.5; 2000], ..bare(DataType::F32, &[2000]) };
    let model = model_of(vec![
        write::tensor("a", DataType::U8, &[5000], vec![7; 5000]),
        typed,
        write::tensor("c", DataType::U8, &[8], vec![9; 8]),
        write::string_tensor("s", &[1], vec![b"x".to_vec()]),
    ]);
    write_model_with(&path, &model, &WriteOptions { external_above: Some(100) }).unwrap();
    assert_eq!(files(folder.path()), ["model.onnx", "model.onnx.data"]);
    assert_eq!(fs::metadata(folder.path().join("model.onnx.data")).unwrap().len(), 8192 + 8000);
    let read = read_model(&path, &Limits::default()).unwrap();
    let tensors = &read.graph().initializer;
    let entry = |tensor: &TensorProto, key: &str| {
        tensor.external_data.iter().find(|entry| entry.key() == key).unwrap().value().to_owned()
    };
    assert_eq!((entry(&tensors[1], "offset"), entry(&tensors[1], "length")), ("8192".into(), "8000".into()));
    assert_eq!(read.tensor(&tensors[0]).unwrap().bytes, vec![7; 5000]);
    assert_eq!(read.tensor(&tensors[1]).unwrap().bytes, 2.5f32.to_le_bytes().repeat(2000));
    assert!(tensors[2].external_data.is_empty());
    assert_eq!(read.tensor(&tensors[2]).unwrap().bytes, vec![9; 8]);

    let embedded = read.embed().unwrap();
    let again = folder.path().join("again.onnx");
    write_model(&again, &embedded).unwrap();
    let again = read_model(&again, &Limits::default()).unwrap();
    assert!(again.external_files().is_empty());
    assert_eq!(again.tensor(&again.graph().initializer[0]).unwrap().bytes, vec![7; 5000]);
}

#[test]
fn small_initializers_leave_no_second_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write_model_with(&path, &full(), &WriteOptions { external_above: Some(1 << 20) }).unwrap();
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[test]
fn failures_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let refused = write_model(&path, &model_of(vec![external(&[1], &[("location", "../x")])]));
    assert_refused(
        refused,
        ErrorKind::Invalid,
        "tensor `w`, external data `../x`: expected an embedded tensor",
    );
    let refused = write_model(&folder.path().join("missing/model.onnx"), &full());
    assert_refused(refused, ErrorKind::Io, "missing/model.onnx`: No such file");
    fs::create_dir(&path).unwrap();
    let options = WriteOptions { external_above: Some(0) };
    let refused = write_model_with(&path, &full(), &options);
    assert_refused(refused, ErrorKind::Io, "model.onnx`: expected a regular file");
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[cfg(unix)]
#[test]
fn a_link_is_replaced_and_its_target_left_alone() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (target, path) = (folder.path().join("target"), folder.path().join("model.onnx"));
    fs::write(&target, b"precious").unwrap();
    symlink(&target, &path).unwrap();
    write_model(&path, &full()).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.is_file());
    // Readable as any new file is, not only for its owner.
    let plain = folder.path().join("plain");
    fs::write(&plain, b"").unwrap();
    assert_eq!(metadata.permissions().mode(), fs::metadata(plain).unwrap().permissions().mode());
}
