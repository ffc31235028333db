//! A language model's head on demand: what is printed is that of a run that writes the whole output.

use std::fs;

use crate::common::command::*;
use dlbc_proto::{DataType, write};
use ndarray::Array3;
use serde_json::Value;
use tempfile::TempDir;

/// Writes a model of a hidden layer and a head, from `x` [2, 5, 3] to `hidden` and `logits` [2, 5, 7], and its input.
fn model(folder: &TempDir) -> [String; 2] {
    let draw = |count: u32, seed: u32| -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 11.0 - 1.0).collect()
    };
    let weight = |name: &str, dims: [u64; 2], seed: u32| {
        let values = draw((dims[0] * dims[1]) as u32, seed);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        write::tensor(name, DataType::F32, &dims, bytes)
    };
    let value =
        |name: &str, dims: [u64; 3]| write::value_info(name, DataType::F32, &dims.map(write::Dim::Value));
    let nodes = vec![
        write::node("MatMul", "in", &["x", "w"], &["z"], vec![]),
        write::node("Relu", "relu", &["z"], &["hidden"], vec![]),
        write::node("MatMul", "head", &["hidden", "v"], &["logits"], vec![]),
    ];
    let weights = vec![weight("w", [3, 6], 1), weight("v", [6, 7], 2)];
    let outputs = vec![value("hidden", [2, 5, 6]), value("logits", [2, 5, 7])];
    let graph = write::graph("language", nodes, weights, vec![value("x", [2, 5, 3])], outputs);
    let files = ["model.onnx", "x.npy"].map(|name| path(folder, name));
    fs::write(&files[0], dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))).unwrap();
    ndarray_npy::write_npy(&files[1], &Array3::from_shape_vec((2, 5, 3), draw(30, 3)).unwrap()).unwrap();
    files
}

/// Removes the times of a summary.
fn without_times(mut summary: Value) -> Value {
    summary.as_object_mut().unwrap().remove("seconds").unwrap();
    summary
}

#[test]
fn a_run_prints_the_same_whether_it_writes_the_whole_output() {
    let folder = folder();
    let [model, x] = model(&folder);
    let (input, out) = (format!("x={x}"), path(&folder, "out.npz"));
    for flags in [
        &[][..],
        &["--position", "1"],
        &["--position", "2", "--target", "3,top2"],
        &["--position", "0", "--start", "value", "--ledger"],
        &["--mode", "contrastive"],
        &["--position", "all"],
        &["--positions-first"],
    ] {
        let run = ["run", &model, "--output", "logits", "--input", &input];
        let on_demand = json(&[&run, flags]);
        assert_eq!(on_demand["outputs"]["logits"]["shape"], serde_json::json!([2, 5, 7]), "{flags:?}");
        let whole = json(&[&run, flags, &["--out", &out]]);
        assert_eq!(without_times(on_demand), without_times(whole), "{flags:?}");
        let names: Vec<String> =
            ndarray_npy::NpzReader::new(fs::File::open(&out).unwrap()).unwrap().names().unwrap();
        assert!(names.iter().any(|name| name.starts_with("output/hidden")), "{names:?}");
    }
    let mut results = ndarray_npy::NpzReader::new(fs::File::open(&out).unwrap()).unwrap();
    let logits: Array3<f32> = results.by_name("output/logits").unwrap();
    assert_eq!(logits.dim(), (2, 5, 7));
}
