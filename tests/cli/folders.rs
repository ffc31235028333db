//! Folders of models: the choice of a file, and caches of language models.

use std::path::Path;

use dlbc_proto::onnx::ModelProto;
use dlbc_proto::{DataType, write};

use crate::common::command::{dlbc, fails, folder, help_after, json, ok, path};

/// Copies the digits model under names of a folder.
fn models(folder: &Path, names: &[&str]) {
    for name in names {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::copy("fixtures/digits_cnn/model.onnx", file).unwrap();
    }
}

fn file_of(words: &[&str]) -> String {
    let inputs = ["--inputs", "fixtures/digits_cnn/input.npz"];
    json(&[&["run"], words, &inputs])["model"].as_str().unwrap().to_string()
}

#[test]
fn weights_choose_a_file_of_a_folder() {
    let folder = folder();
    models(folder.path(), &["onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"]);
    let hub = path(&folder, "");
    for (weights, file) in [
        ("fp32", "model.onnx"),
        ("fp16", "model_fp16.onnx"),
        ("int8", "model_quantized.onnx"),
        ("quantized", "model_quantized.onnx"),
    ] {
        assert_eq!(file_of(&[&hub, "--weights", weights]), file);
    }
    assert_eq!(file_of(&[&hub]), "model.onnx");
    let message = fails(2, &[&["inspect", &hub, "--weights", "q4"]]);
    assert!(message.contains("no weights `q4`") && message.contains("`fp32`, `fp16`, `int8`"), "{message}");
    let message = fails(2, &[&["inspect", "fixtures/digits_cnn/model.onnx", "--weights", "q4"]]);
    assert!(message.contains("expected a folder of models"), "{message}");
}

#[test]
fn a_configuration_names_the_file_of_a_folder() {
    let folder = folder();
    models(folder.path(), &["decoder.onnx", "vision.onnx"]);
    let genai = path(&folder, "");
    let several = help_after(2, &[&["inspect", &genai]]);
    assert!(several.contains("name one of the files"), "{several}");
    let config = |name: &str| {
        let text = format!(r#"{{"model": {{"decoder": {{"filename": "{name}"}}}}}}"#);
        std::fs::write(folder.path().join("genai_config.json"), text).unwrap();
    };
    config("decoder.onnx");
    assert_eq!(file_of(&[&genai]), "decoder.onnx");
    for outside in ["../decoder.onnx", "/etc/passwd", "none.onnx"] {
        config(outside);
        let message = fails(3, &[&["inspect", &genai]]);
        assert!(message.contains("expected the name of a file in the folder"), "{message}");
    }
}

#[test]
fn a_folder_without_models_is_refused() {
    let folder = folder();
    let message = fails(3, &[&["inspect", &path(&folder, "")]]);
    assert!(message.contains("found a folder"), "{message}");
}

#[test]
fn a_cache_is_named_and_empty_by_default() {
    let folder = folder();
    let file = path(&folder, "model.onnx");
    std::fs::write(&file, dlbc_proto::encode(&decoder())).unwrap();
    let text = ok(&[&["inspect", &file]]);
    assert!(text.contains("past_key_values.0.key f32[2,past], a cache: `present.0.key` is next"), "{text}");
    assert_eq!(json(&[&["inspect", &file]])["caches"]["past_key_values.0.key"], "present.0.key");
    let x = path(&folder, "x.npy");
    ndarray_npy::write_npy(&x, &ndarray::arr2(&[[1.0_f32, 2.0], [3.0, 4.0]])).unwrap();
    let done = dlbc(&[&["run", &file, "--input", &format!("x={x}"), "--json"]]);
    assert!(done.err.contains("cache `past_key_values.0.key` is empty"), "{}", done.err);
    let summary: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(summary["outputs"]["present.0.key"]["shape"], serde_json::json!([2, 2]));
}

/// A model that appends two columns `x` to a cache.
fn decoder() -> ModelProto {
    let [two, past] = [write::Dim::Value(2), write::Dim::Symbol("past".into())];
    let axis = write::attr_int("axis", 1);
    let nodes = vec![
        write::node("Relu", "relu", &["x"], &["y"], vec![]),
        write::node("Concat", "concat", &["past_key_values.0.key", "x"], &["present.0.key"], vec![axis]),
    ];
    let value = |name: &str, width: &write::Dim| {
        write::value_info(name, DataType::F32, &[two.clone(), width.clone()])
    };
    let inputs = vec![value("x", &two), value("past_key_values.0.key", &past)];
    let next = write::Dim::Symbol("next".into());
    let outputs = vec![value("y", &two), value("present.0.key", &next)];
    let graph = write::graph("decoder", nodes, vec![], inputs, outputs);
    write::model(graph, vec![write::opset("", 17)])
}
