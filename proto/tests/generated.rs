//! The message types in `generated/onnx.rs` are those that `onnx.proto` gives, so that a build needs no generator.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

/// `DLBC_UPDATE_PROTO=1` writes the file.
#[test]
fn message_types_are_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile([folder.join("onnx.proto")], [folder]).unwrap();
    prost_build::Config::new()
        .out_dir(out.path())
        // Weights stay slices of the file they were read from.
        .bytes([".onnx.TensorProto.raw_data"])
        // An attribute holds one of its kinds; inline they would make each attribute two kilobytes.
        .boxed(".onnx.AttributeProto.t")
        .boxed(".onnx.AttributeProto.g")
        .boxed(".onnx.AttributeProto.sparse_tensor")
        .boxed(".onnx.AttributeProto.tp")
        .compile_fds(descriptors)
        .unwrap();
    let expected = std::fs::read_to_string(out.path().join("onnx.rs")).unwrap();
    let file = folder.join("generated/onnx.rs");
    if std::env::var_os("DLBC_UPDATE_PROTO").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    let actual = std::fs::read_to_string(&file).unwrap();
    assert!(actual == expected, "generated/onnx.rs is out of date: run this test with DLBC_UPDATE_PROTO=1");
}
