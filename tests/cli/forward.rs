//! `dlbc run --forward-only`, and starts from a file.

use std::fs::File;

use crate::common::command::*;
use crate::program::{DIGIT, DIGITS, TABLE};
use ndarray::Array2;
use ndarray_npy::{NpzReader, write_npy};

#[test]
fn a_model_runs_without_an_explanation() {
    let files = folder();
    let out = path(&files, "out.npz");
    let run = json(&[&["run", DIGITS, "--forward-only", "--out", &out], &DIGIT]);
    let explained = json(&[&["run", DIGITS], &DIGIT]);
    assert_eq!(run["outputs"], explained["outputs"]);
    assert_eq!((&run["model"], &run["device"]), (&"model.onnx".into(), &"cpu".into()));
    for absent in ["rules", "mode", "start", "inputs", "absorbed"] {
        assert!(run.get(absent).is_none(), "{absent}");
    }
    for phase in ["load", "compile", "forward"] {
        assert!(run["seconds"][phase].as_f64().unwrap() > 0.0, "{phase}");
    }
    let mut arrays = NpzReader::new(File::open(out).unwrap()).unwrap();
    assert_eq!(arrays.names().unwrap(), ["output/logits"]);
    let logits: Array2<f32> = arrays.by_name("output/logits").unwrap();
    assert_eq!(logits.dim(), (1, 10));
    let text = ok(&[&["run", DIGITS, "--forward-only"], &DIGIT]);
    assert!(
        text.starts_with("model    model.onnx (cpu, forward only)\noutput   logits [1, 10]  argmax 1"),
        "{text}"
    );
    let rows = ["--csv", "fixtures/tabular_mlp/rows.csv", "--row", "all"];
    assert!(json(&[&["run", TABLE, "--forward-only"], &rows])["outputs"].is_object());
}

#[test]
fn an_artifact_runs_without_an_explanation() {
    let files = folder();
    let artifact = path(&files, "model.dlbc.onnx");
    ok(&[&["compile", DIGITS, "-o", &artifact]]);
    let run = json(&[&["run", &artifact, "--forward-only"], &DIGIT]);
    assert_eq!(run["outputs"]["logits"]["argmax"], serde_json::json!([1]));
}

#[test]
fn several_pictures_run_one_after_the_other() {
    let files = folder();
    let second = path(&files, "second.png");
    std::fs::copy("fixtures/digits_cnn/digit.png", &second).unwrap();
    let pictures = ["--image", "fixtures/digits_cnn/digit.png", "--image", &second];
    let run = json(&[&["run", DIGITS, "--forward-only"], &pictures]);
    let pictures = run["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 2);
    assert_eq!(pictures[0]["outputs"], pictures[1]["outputs"]);
}

#[test]
fn flags_of_relevance_have_no_effect_on_a_forward_run() {
    for flags in [
        &["--target", "3"][..],
        &["--rules", "dlb"],
        &["--ledger"],
        &["--start", "start.npy"],
        &["--multiplier", "2"],
        &["--heatmap", "map.png"],
    ] {
        let error = fails(2, &[&["run", DIGITS, "--forward-only"], flags, &DIGIT]);
        assert!(error.contains(&format!("`{}` has no effect with `--forward-only`", flags[0])), "{error}");
    }
}

#[test]
fn comparisons_need_explanations() {
    let error = fails(2, &[&["diff", DIGITS, TABLE, "--forward-only"]]);
    assert!(error.contains("`--forward-only` leaves nothing to compare"), "{error}");
}

/// Writes a model whose output is the number of tokens, on which no relevance reaches an input.
fn counting(folder: &tempfile::TempDir) -> String {
    use dlbc_proto::{DataType, write};
    let shape = [write::Dim::Value(1), write::Dim::Value(3)];
    let node = write::node("Shape", "shape", &["x"], &["y"], vec![]);
    let x = write::value_info("x", DataType::F32, &shape);
    let y = write::value_info("y", DataType::I64, &[write::Dim::Value(2)]);
    let graph = write::graph("g", vec![node], vec![], vec![x], vec![y]);
    let file = path(folder, "shape.onnx");
    std::fs::write(&file, dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))).unwrap();
    file
}

#[test]
fn a_model_without_a_path_to_an_input_offers_a_forward_run() {
    let files = folder();
    let (model, input) = (counting(&files), path(&files, "x.npy"));
    write_npy(&input, &Array2::<f32>::zeros((1, 3))).unwrap();
    let help = help_after(4, &[&["run", &model, "--input", &input]]);
    assert!(help.contains("`dlbc run --forward-only`"), "{help}");
    let run = json(&[&["run", &model, "--forward-only", "--input", &input]]);
    assert_eq!(run["outputs"]["y"]["labels"], serde_json::json!([1, 3]));
}

#[test]
fn relevance_starts_from_a_file() {
    let files = folder();
    let (start, out) = (path(&files, "start.npy"), path(&files, "out.npz"));
    let mut values = Array2::<f32>::zeros((1, 10));
    (values[[0, 1]], values[[0, 7]]) = (60.0, -20.0);
    write_npy(&start, &values).unwrap();
    let run = json(&[&["run", DIGITS, "--start", &start, "--out", &out, "--ledger"], &DIGIT]);
    assert_eq!((&run["start"], &run["target"]), (&40.0.into(), &start.as_str().into()));
    let sum = run["inputs"]["input"].as_f64().unwrap() + run["absorbed"].as_f64().unwrap();
    assert!((sum - 40.0).abs() < 1e-3, "{sum}");
    // One unit as a tensor is one unit as a target.
    values[[0, 7]] = 0.0;
    write_npy(&start, &values).unwrap();
    let [by_file, by_target] = [&["--start", start.as_str()][..], &["--target", "1", "--multiplier", "60"]]
        .map(|flags| json(&[&["run", DIGITS], flags, &DIGIT])["inputs"]["input"].as_f64().unwrap());
    assert_eq!(by_file, by_target);
}

#[test]
fn starts_that_do_not_fit_are_refused() {
    let files = folder();
    let start = path(&files, "start.npy");
    write_npy(&start, &Array2::<f32>::zeros((1, 9))).unwrap();
    let error = fails(3, &[&["run", DIGITS, "--start", &start], &DIGIT]);
    assert!(error.contains("output `logits`: expected shape [1, 10], found [1, 9]"), "{error}");
    let error = fails(2, &[&["run", DIGITS, "--start", &start, "--target", "1"], &DIGIT]);
    assert!(error.contains("`--target` has no effect where the start is a file"), "{error}");
    let error = fails(3, &[&["run", DIGITS, "--start", "absent.npy"], &DIGIT]);
    assert!(error.contains("start `absent.npy`"), "{error}");
    let error = fails(2, &[&["run", DIGITS, "--start", "ones"], &DIGIT]);
    assert!(error.contains("expected one, value or a .npy file; did you mean `one`?"), "{error}");
}
