//! The command line as scripts see it: names, files, keys, exit codes.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::common::command::*;

use dlbc_proto::{DataType, write};
use ndarray_npy::NpzReader;
use serde_json::Value;
use tempfile::TempDir;

pub(super) const DIGITS: &str = "fixtures/digits_cnn/model.onnx";
pub(super) const DIGIT: [&str; 2] = ["--image", "fixtures/digits_cnn/digit.png"];
const BATCH: [&str; 2] = ["--inputs", "fixtures/digits_cnn/input.npz"];
pub(super) const TABLE: &str = "fixtures/tabular_mlp/model.onnx";
const ROWS: [&str; 2] = ["--csv", "fixtures/tabular_mlp/rows.csv"];

/// Writes a model of one node from `x` [1, 2] to `y`.
fn one_node(folder: &TempDir, op: &str, node_name: &str) -> String {
    let node = write::node(op, node_name, &["x"], &["y"], vec![]);
    let x = write::value_info("x", DataType::F32, &[write::Dim::Value(1), write::Dim::Value(2)]);
    let y = write::value_info("y", DataType::F32, &[write::Dim::Value(1), write::Dim::Value(2)]);
    let model =
        write::model(write::graph("g", vec![node], vec![], vec![x], vec![y]), vec![write::opset("", 17)]);
    let file = path(folder, "model.onnx");
    fs::write(&file, dlbc_proto::encode(&model)).unwrap();
    file
}

#[test]
fn help_shows_an_example_and_the_version_is_known() {
    for words in
        [&["--help"][..], &["--version"], &["compile", "--help"], &["run", "-h"], &["inspect", "--help"]]
    {
        assert!(ok(&[words]).contains("dlbc"));
    }
    assert!(ok(&[&["run", "--help"]]).contains("dlbc run fixtures/digits_cnn/model.onnx --image"));
}

#[test]
fn every_shell_completes() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(ok(&[&["completions", shell]]).contains("heatmap"));
    }
}

#[test]
fn the_summary_has_the_keys_of_the_contract() {
    let summary = json(&[&["run", DIGITS], &DIGIT]);
    assert_eq!(summary["model"], "model.onnx");
    assert_eq!(
        (&summary["device"], &summary["rules"], &summary["mode"]),
        (&"cpu".into(), &"dlb".into(), &"default".into())
    );
    assert_eq!(summary["outputs"]["logits"]["shape"], serde_json::json!([1, 10]));
    assert_eq!(summary["outputs"]["logits"]["argmax"], serde_json::json!([1]));
    assert_eq!(summary["start"], 100.0);
    let (inputs, absorbed) =
        (summary["inputs"]["input"].as_f64().unwrap(), summary["absorbed"].as_f64().unwrap());
    assert!((inputs + absorbed - 100.0).abs() < 1e-3, "{inputs} {absorbed}");
    for phase in ["load", "compile", "forward", "reverse"] {
        assert!(summary["seconds"][phase].as_f64().unwrap() > 0.0, "{phase}");
    }
}

#[test]
fn targets_choose_the_unit() {
    for (target, start) in [("argmax", 800.0), ("3", 800.0), ("-1", 800.0), ("all", 800.0)] {
        let summary = json(&[&["run", DIGITS, "--target", target], &BATCH]);
        let seed = summary["start"].as_f64().unwrap();
        assert!((seed - start).abs() < 1e-3, "{target}: {seed}");
    }
    // The logits of the digit 1 are 10.8 for class 1 and -4.1 for class 7: both values speak for the difference.
    for (rules, target, start) in [("dlb", "1-7", 100.0), ("dlb", "7-1", -100.0), ("gradient", "1-7", 0.0)] {
        let summary = json(&[&["run", DIGITS, "--rules", rules, "--target", target], &DIGIT]);
        let seed = summary["start"].as_f64().unwrap();
        assert!((seed - start).abs() < 1e-3, "{rules} {target}: {seed}");
    }
    let summary = json(&[&["run", DIGITS, "--start", "value", "--multiplier", "7"], &DIGIT]);
    assert!(summary["start"].as_f64().unwrap() != 7.0);
    fails(2, &[&["run", DIGITS, "--target", "10"], &DIGIT]);
    fails(2, &[&["run", DIGITS, "--target", "-11"], &DIGIT]);
    for device in ["cpu", "reference"] {
        for precision in ["3xtf32", "tf32", "bf16", "simt"] {
            let words = &["run", DIGITS, "--precision", precision, "--device", device];
            assert!(fails(2, &[words, &DIGIT]).contains("`--precision` applies to GPUs only"));
        }
    }
    fails(2, &[&["run", DIGITS, "--precision", "fp8"], &DIGIT]);
}

/// Writes a model of one `Sigmoid` from `x` to `y`, both [1, 1, 2, 2], and an input for it.
fn pixels(folder: &TempDir) -> (String, String) {
    let dims = [1, 1, 2, 2].map(write::Dim::Value);
    let node = write::node("Sigmoid", "pixel", &["x"], &["y"], vec![]);
    let (x, y) = (write::value_info("x", DataType::F32, &dims), write::value_info("y", DataType::F32, &dims));
    let model =
        write::model(write::graph("g", vec![node], vec![], vec![x], vec![y]), vec![write::opset("", 17)]);
    let (file, input) = (path(folder, "pixels.onnx"), path(folder, "x.npy"));
    fs::write(&file, dlbc_proto::encode(&model)).unwrap();
    let values = ndarray::arr2(&[[2.0f32, -1.0], [1.0, -2.0]]).into_shape_with_order((1, 1, 2, 2)).unwrap();
    ndarray_npy::write_npy(&input, &values).unwrap();
    (file, format!("x={input}"))
}

#[test]
fn the_start_is_what_is_asked_for() {
    let run = |extra: &[&str]| {
        let summary = json(&[&["run", DIGITS, "--target", "3"], &DIGIT, extra]);
        summary["start"].as_f64().unwrap()
    };
    let value = run(&["--start", "value"]);
    assert!(value != 0.0 && value != 100.0);
    assert_eq!(run(&["--scaler", "5"]), 5.0);
    assert_eq!(run(&["--scaler", "5", "--start", "value"]), 5.0);
    assert_eq!(run(&["--task", "multi-class"]), 100.0);
    // A batch of eight: the scaler is what each row starts with.
    let batch = json(&[&["run", DIGITS, "--scaler", "5", "--target", "all"], &BATCH]);
    assert!((batch["start"].as_f64().unwrap() - 40.0).abs() < 1e-4);
    for (extra, says) in [
        (&["--scaler", "5", "--multiplier", "3"][..], "cannot be used with"),
        (&["--scaler", "-5"], "expected a number above 0"),
        (&["--scaler", "5", "--target", "1-1"], "expected a value other than 0"),
        (&["--task", "generation"], "[batch, position, unit]"),
        (&["--task", "binary-classification"], "one or two units"),
        (&["--task", "multi-class", "--threshold", "1"], "has no effect"),
        (&["--target", "3", "--threshold", "1"], "has no effect"),
        (&["--threshold", "1000"], "no value above the threshold"),
        (&["--position", "2"], "out of range"),
        (&["--target", "top11"], "out of range"),
        (&["--target", "3,3"], "twice"),
    ] {
        assert!(fails(2, &[&["run", DIGITS], &DIGIT, extra]).contains(says), "{extra:?}");
    }
}

#[test]
fn a_segmentation_starts_from_what_is_above_the_threshold() {
    let folder = folder();
    let (model, input) = pixels(&folder);
    let out = path(&folder, "r.npz");
    let run = |extra: &[&str]| {
        ok(&[&["run", &model, "--input", &input, "--out", &out], extra]);
        let mut file = NpzReader::new(File::open(&out).unwrap()).unwrap();
        let relevance: ndarray::Array4<f32> = file.by_name("relevance/x").unwrap();
        relevance.into_raw_vec_and_offset().0
    };
    assert_eq!(run(&["--task", "binary-segmentation"]), [50.0, 0.0, 50.0, 0.0]);
    assert_eq!(run(&["--threshold", "0.8", "--scaler", "1"]), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(run(&["--target", "all"]), [25.0; 4]);
    let help = help_after(4, &[&["run", &model, "--input", &input]]);
    assert!(help.contains("--task segmentation"), "{help}");
}

#[test]
fn any_tensor_can_be_explained() {
    let folder = folder();
    let files = ["a.npz", "b.npz", "c.dlbc.onnx", "d.onnx"].map(|name| path(&folder, name));
    let [run, again, compiled, exported] = &files;
    let from = ["--output", "flat.out"];
    let summary = json(&[&["run", DIGITS, "--out", run], &DIGIT, &from]);
    assert_eq!(summary["explained"], "flat.out");
    assert_eq!(summary["outputs"]["flat.out"]["shape"], serde_json::json!([1, 128]));
    ok(&[&["compile", DIGITS, "-o", compiled], &from]);
    ok(&[&["run", compiled, "--out", again], &DIGIT, &from]);
    ok(&[&["diff", run, again, "--max-l1", "0"]]);
    ok(&[&["export", DIGITS, "-o", exported], &from]);
    // The layer after it has no rule.
    let table = ok(&[&["inspect", DIGITS], &from]);
    let logits = table.lines().find(|l| l.starts_with("logits")).unwrap();
    assert!(!logits.contains("proportional") && table.contains("output flat.out f32[batch,128]"), "{table}");
    // A map of features has no last axis of units.
    let help = help_after(4, &[&["run", DIGITS, "--output", "relu1.out"], &DIGIT]);
    assert!(help.contains("--target all"), "{help}");
    ok(&[&["run", DIGITS, "--output", "relu1.out", "--target", "all"], &DIGIT]);
    ok(&[&["run", DIGITS, "--output", "relu1.out", "--threshold", "0.1"], &DIGIT]);
    let error = fails(2, &[&["run", DIGITS, "--output", "relu9.out"], &DIGIT]);
    assert!(error.contains("`relu1.out`") && !error.contains("fc.weight"), "{error}");
}

#[test]
fn relevance_by_module_and_by_head() {
    let folder = folder();
    let out = path(&folder, "r.npz");
    let bert = ["run", "fixtures/sentiment_bert/model.onnx", "--text", "A waste of two hours."];
    let summary = json(&[&bert, &["--layers", "--heads", "--out", &out, "--target", "0,1"]]);
    assert!(summary.get("audit").is_none());
    let rows = summary["layers"].as_array().unwrap();
    assert_eq!(rows[0]["scope"], "");
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
    assert!((number(&rows[0], "received") - 100.0).abs() < 1e-3);
    for row in rows {
        assert!(
            (number(row, "received") - number(row, "passed") - number(row, "absorbed")).abs() < 1e-2,
            "{row}"
        );
    }
    let layer = rows.iter().find(|r| r["scope"] == "m/bert/encoder/layer.1").unwrap();
    let heads = &summary["heads"].as_array().unwrap()[1];
    assert_eq!(heads["received"].as_array().unwrap().len(), 4);
    assert_eq!(heads["operands"].as_object().unwrap().len(), 3);
    let vector = |key: &str| -> ndarray::Array1<f64> {
        NpzReader::new(File::open(&out).unwrap()).unwrap().by_name(key).unwrap()
    };
    assert!((vector("layers/m/bert/encoder/layer.1")[2] - number(layer, "absorbed")).abs() < 1e-9);
    assert!((vector("layers/(model)")[0] - 100.0).abs() < 1e-3);
    let attention = heads["node"].as_str().unwrap();
    assert_eq!(vector(&format!("target/0/heads/{attention}")), vector(&format!("heads/{attention}")));
    assert_ne!(vector(&format!("target/1/heads/{attention}")), vector(&format!("heads/{attention}")));
    // A model that names no modules, and has no heads.
    let text = ok(&[&["run", DIGITS, "--layers", "--heads"], &DIGIT]);
    assert!(text.contains("no node of the file says") && text.contains("no attention"), "{text}");
}

#[test]
fn several_targets_share_a_run() {
    let folder = folder();
    let (together, alone, picture) = (path(&folder, "a.npz"), path(&folder, "b.npz"), path(&folder, "p.png"));
    let targets = ["--target", "3,top2,1-7"];
    let flags = ["--audit", "--out", &together, "--heatmap", &picture];
    let summary = json(&[&["run", DIGITS], &BATCH, &targets, &flags]);
    let listed: Vec<&str> =
        summary["by_target"].as_array().unwrap().iter().map(|t| t["target"].as_str().unwrap()).collect();
    assert_eq!(listed, ["3", "top1", "top2", "1-7"]);
    assert_eq!(summary["target"], "3");
    assert_eq!(summary["by_target"][1]["targets"], summary["outputs"]["logits"]["argmax"]);
    let array = |file: &str, key: &str| -> ndarray::ArrayD<f32> {
        NpzReader::new(File::open(file).unwrap()).unwrap().by_name(key).unwrap()
    };
    for (name, target) in [("3", "3"), ("top1", "argmax"), ("1-7", "1-7")] {
        ok(&[&["run", DIGITS, "--target", target, "--audit", "--out", &alone], &BATCH]);
        let single = array(&alone, "relevance/input");
        let gap = &array(&together, &format!("target/{name}/relevance/input")) - &single;
        assert!(gap.mapv(f32::abs).sum() <= 1e-5 * single.mapv(f32::abs).sum(), "{target}");
    }
    assert_eq!(array(&together, "relevance/input"), array(&together, "target/3/relevance/input"));
    let scalar = |key: &str| -> f64 {
        let mut file = NpzReader::new(File::open(&together).unwrap()).unwrap();
        file.by_name::<ndarray::OwnedRepr<f64>, ndarray::Ix0>(key).unwrap().into_scalar()
    };
    for name in ["3", "top1", "top2", "1-7"] {
        let entry = |what: &str| scalar(&format!("target/{name}/audit/{what}"));
        assert!((entry("start") - entry("inputs") - entry("absorbed")).abs() < 1e-2, "{name}");
    }
    let text = ok(&[&["run", DIGITS], &DIGIT, &targets]);
    assert!(text.contains("targets  4 of logits") && text.contains("top2 = 2"), "{text}");
    assert!(fs::metadata(&picture).unwrap().len() > 1000);
}

#[test]
fn results_have_the_keys_of_the_contract() {
    let folder = folder();
    let npz = path(&folder, "r.npz");
    ok(&[&["run", DIGITS, "--out", &npz, "--audit"], &BATCH]);
    let mut reader = NpzReader::new(File::open(&npz).unwrap()).unwrap();
    let mut names = reader.names().unwrap();
    names.sort();
    assert_eq!(names, ["audit/absorbed", "audit/inputs", "audit/start", "output/logits", "relevance/input"]);
    let relevance: ndarray::ArrayD<f32> = reader.by_name("relevance/input").unwrap();
    assert_eq!(relevance.shape(), [8, 1, 8, 8]);
    let start: ndarray::ArrayD<f64> = reader.by_name("audit/start").unwrap();
    assert_eq!((start.ndim(), start.sum()), (0, 800.0));

    for name in ["r.safetensors", "r.json"] {
        let file = path(&folder, name);
        ok(&[&["run", DIGITS, "--out", &file], &BATCH]);
        let bytes = fs::read(&file).unwrap();
        for key in ["output/logits", "relevance/input", "sha256/model.onnx"] {
            assert!(bytes.windows(key.len()).any(|w| w == key.as_bytes()), "{name}: {key}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    fails(2, &[&["run", DIGITS, "--out", "r.pkl"], &BATCH]);
}

#[test]
fn intermediate_relevance_is_kept_on_request() {
    let folder = folder();
    let npz = path(&folder, "r.npz");
    ok(&[&["run", DIGITS, "--out", &npz, "--keep", "all"], &DIGIT]);
    let count = NpzReader::new(File::open(&npz).unwrap()).unwrap().names().unwrap().len();
    assert!(count > 5, "{count}");
    fails(2, &[&["run", DIGITS, "--out", &npz, "--keep", "no_such_tensor"], &DIGIT]);
}

#[test]
fn results_do_not_depend_on_run_or_threads() {
    let folder = folder();
    let (first, second) = (path(&folder, "1.npz"), path(&folder, "2.npz"));
    ok(&[&["run", DIGITS, "--out", &first, "--threads", "1"], &BATCH]);
    ok(&[&["run", DIGITS, "--out", &second, "--threads", "2"], &BATCH]);
    assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap());
}

#[test]
fn an_artifact_runs_like_its_model() {
    let folder = folder();
    let artifact = path(&folder, "digits.dlbc.onnx");
    let text = ok(&[&["compile", DIGITS, "-o", &artifact]]);
    for word in ["parsed", "fused", "ruled", "lowered", &artifact] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (direct, compiled) = (path(&folder, "1.npz"), path(&folder, "2.npz"));
    ok(&[&["run", DIGITS, "--out", &direct, "--audit"], &BATCH]);
    ok(&[&["run", &artifact, "--out", &compiled, "--audit"], &BATCH]);
    assert_eq!(fs::read(direct).unwrap(), fs::read(compiled).unwrap());
    assert!(ok(&[&["inspect", &artifact]]).contains("logits"));
    fails(2, &[&["run", &artifact, "--rules", "dlb"], &BATCH]);
    fails(2, &[&["compile", &artifact]]);
    // Again, over the old file.
    let quiet = dlbc(&[&["compile", DIGITS, "-o", &artifact, "--quiet"]]);
    assert_eq!((quiet.code, quiet.out, quiet.err), (Some(0), String::new(), String::new()));
}

#[test]
fn stages_are_printed_on_standard_output() {
    let folder = folder();
    let artifact = path(&folder, "a.onnx");
    let emit = |stage| ok(&[&["compile", DIGITS, "-o", &artifact, "--emit", stage]]);
    assert!(emit("relevance").starts_with("relevance of logits onto input {"));
    assert!(emit("lowered").starts_with("graph ("));
    assert!(emit("dot").starts_with("digraph"));
    let stage: Value = serde_json::from_str(&emit("json")).unwrap();
    assert_eq!(stage["program"]["explained"], "logits");
}

#[test]
fn an_export_is_a_model() {
    let folder = folder();
    let exported = path(&folder, "explained.onnx");
    ok(&[&["export", DIGITS, "-o", &exported]]);
    let model = dlbc_proto::read_model(exported.as_ref(), &dlbc_proto::Limits::default()).unwrap();
    let names = |values: &[dlbc_proto::onnx::ValueInfoProto]| {
        values.iter().map(|v| v.name().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&model.graph().output), ["logits", "relevance/input"]);
    assert!(names(&model.graph().input).contains(&"input".to_string()));
    assert!(model.graph().node.iter().all(|n| n.domain().is_empty()));
}

/// The printed line of Python runs as it stands, and ONNX Runtime has nothing to say about the model.
#[test]
fn an_export_is_called_as_it_prints() {
    let folder = folder();
    let exported = path(&folder, "explained.onnx");
    for (extra, inputs) in [(&[][..], 2), (&["--target", "1-7", "--start", "value"], 1)] {
        let text = ok(&[&["export", DIGITS, "-o", &exported, "--rules", "lrp-epsilon"], extra]);
        assert_eq!(text.matches("\ninput ").count(), inputs, "{text}");
        assert!(text.contains("require(\"onnxruntime-node\")"), "{text}");
        let line = text.lines().find_map(|l| l.trim().strip_prefix("import numpy")).unwrap();
        let Some(python) = crate::common::python() else { return };
        let code = format!("import numpy{line}\nprint([i.name for i in session.get_inputs()])");
        let done = std::process::Command::new(python).args(["-c", &code]).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && err.is_empty(), "{out}{err}");
        assert!(out.contains("relevance/input"), "{out}");
        assert_eq!(out.contains("'dlbc_target'"), inputs == 2, "{out}");
        let inspection = ok(&[&["inspect", &exported]]);
        let target = if inputs == 2 { "input dlbc_target, else argmax" } else { "1-7" };
        for what in ["an exported explanation of `logits`", "lrp-epsilon", "model.onnx", target] {
            assert!(inspection.contains(what), "{what}: {inspection}");
        }
        let done = dlbc(&[&["run", &exported], &BATCH]);
        assert!(done.err.contains("an exported explanation"), "{}", done.err);
    }
    assert_eq!(ok(&[&["export", DIGITS, "-o", &exported, "--quiet"]]), "");
    assert!(fails(4, &[&["export", DIGITS, "-o", &exported, "--target", "10"]]).contains("-10 to 9"));
    assert!(fails(4, &[&["export", DIGITS, "-o", &exported, "--target", "top2"]]).contains("one target"));
    assert!(fails(2, &[&["export", &exported, "-o", &exported]]).contains("exported"));
}

#[test]
fn heat_maps_are_pictures() {
    let folder = folder();
    for (name, words) in [
        ("digit.png", [&["run", DIGITS][..], &DIGIT].concat()),
        ("batch.png", [&["run", DIGITS, "--colors", "purple-orange"][..], &BATCH].concat()),
        ("row.png", [&["run", TABLE, "--row", "3"][..], &ROWS].concat()),
    ] {
        let file = path(&folder, name);
        ok(&[&words, &["--heatmap", &file]]);
        let picture = image::open(&file).unwrap();
        assert!(picture.width() > 224 && picture.height() > 224, "{name}");
    }
}

#[test]
fn the_ledger_closes() {
    let text = ok(&[&["run", DIGITS, "--audit"], &BATCH]);
    assert!(text.contains("closes to") && text.contains("total"), "{text}");
    let audit = &json(&[&["run", DIGITS, "--audit"], &BATCH])["audit"];
    assert_eq!(audit["closed"], true);
    assert!(audit["rows"].as_array().unwrap().len() >= 8);
}

#[test]
fn tables_of_both_kinds_run() {
    for (model, output) in [(TABLE, "logits"), ("fixtures/tabular_mlp/sklearn.onnx", "probabilities")] {
        let summary = json(&[&["run", model, "--row", "1"], &ROWS]);
        assert_eq!(summary["outputs"][output]["argmax"], serde_json::json!([0]), "{model}");
    }
    fails(3, &[&["run", TABLE, "--row", "10"], &ROWS]);
}

#[test]
fn relevance_that_cancels_is_noted() {
    let done = dlbc(&[&["run", TABLE, "--target", "1-1"], &ROWS]);
    assert!(done.err.contains("every relevance is 0: a unit minus itself is 0"), "{}", done.err);
    assert!(done.out.contains("every relevance is 0"), "{}", done.out);
    assert!(!dlbc(&[&["run", TABLE], &ROWS]).err.contains("starting relevance"));
}

#[test]
fn repeated_runs_report_medians() {
    assert_eq!(json(&[&["run", DIGITS, "--repeat", "3"], &DIGIT])["repeat"], 3);
    fails(2, &[&["run", DIGITS, "--repeat", "0"], &DIGIT]);
}

#[test]
fn code_2_wrong_arguments() {
    assert_eq!(dlbc(&[&["explode"]]).code, Some(2));
    assert!(fails(2, &[&["run", DIGITS]]).contains("missing input `input` f32[batch,1,8,8]"));
    assert!(fails(2, &[&["run", DIGITS, "--input", "x=fixtures/x.npy"]]).contains("unknown input `x`"));
    assert!(fails(2, &[&["run", DIGITS], &ROWS]).contains("no input for a table"));
    assert!(fails(2, &[&["run", TABLE], &DIGIT]).contains("no input for a picture"));
    assert!(fails(2, &[&["run", DIGITS], &DIGIT, &BATCH]).contains("twice"));
    assert!(fails(2, &[&["run", DIGITS, "--rules", "magic"], &DIGIT]).contains("magic"));
    assert!(fails(2, &[&["run", DIGITS, "--output", "magic"], &DIGIT]).contains("magic"));
    assert!(
        fails(2, &[&["run", DIGITS, "--out", "no/such/folder/r.npz"], &DIGIT]).contains("no/such/folder")
    );
}

#[test]
fn code_3_invalid_model_or_input() {
    let folder = folder();
    let garbage = path(&folder, "garbage.onnx");
    fs::write(&garbage, [7; 100]).unwrap();
    assert!(fails(3, &[&["inspect", &garbage]]).contains("garbage.onnx"));
    assert!(fails(3, &[&["inspect", "no-such-model.onnx"]]).contains("no-such-model.onnx"));
    let table = path(&folder, "rows.csv");
    fs::write(&table, "a,b\n1,x\n").unwrap();
    assert!(fails(3, &[&["run", TABLE, "--csv", &table]]).contains("expected 30 columns"));
    let rows = fs::read_to_string(ROWS[1]).unwrap().replacen("16.33", "x", 1);
    fs::write(&table, rows).unwrap();
    assert!(fails(3, &[&["run", TABLE, "--csv", &table]]).contains("row 0, column 2 `mean texture`"));
    fs::write(&table, "a,b\n1,2\n").unwrap();
    assert!(
        fails(3, &[&["run", TABLE, "--csv", &table]]).contains("input `X`: expected 30 columns, found 2")
    );
    let other = fails(3, &[&["run", DIGITS, "--input", "input=fixtures/digits_cnn/digit.png"]]);
    assert!(other.contains("expected a .npy array, found a picture"), "{other}");
    let swapped = ["--inputs", "fixtures/digits_cnn/model.onnx"];
    assert!(
        fails(3, &[&["run", DIGITS], &swapped])
            .contains("expected an .npz archive of arrays, found an ONNX model")
    );
}

#[test]
fn code_4_not_supported() {
    let folder = folder();
    let model = one_node(&folder, "Bernoulli", "draw");
    assert!(fails(4, &[&["compile", &model]]).contains("Bernoulli"));
    let table = ok(&[&["inspect", &model]]);
    for part in ["Bernoulli", "input  x f32[1,2]", "output y f32[1,2]"] {
        assert!(table.contains(part), "{table}");
    }
    let error = fails(4, &[&["run", DIGITS, "--report", "r.html"]]);
    assert_eq!(error, "error: `--report` is not available yet");
    let signed = &["--mode", "contrastive", "--rules", "lrp-epsilon"];
    assert!(fails(4, &[&["run", DIGITS], &DIGIT, signed]).contains("rules/lrp-epsilon.toml:"));
}

#[test]
fn contrastive_mode_has_two_tracks() {
    let folder = folder();
    let (out, artifact, png) = (path(&folder, "r.npz"), path(&folder, "d.dlbc.onnx"), path(&folder, "r.png"));
    let contrastive = &["--mode", "contrastive"];
    let text = ok(&[&["run", DIGITS, "--audit", "--out", &out, "--heatmap", &png], &DIGIT, contrastive]);
    for part in ["mode contrastive", "supporting relevance", "opposing relevance"] {
        assert!(text.contains(part), "{text}");
    }
    let mut reader = NpzReader::new(fs::File::open(&out).unwrap()).unwrap();
    let mut names: Vec<String> =
        reader.names().unwrap().iter().map(|n| n.trim_end_matches(".npy").to_string()).collect();
    names.sort();
    let audit = ["absorbed", "inputs", "start"];
    let expected: Vec<String> = (audit.iter().map(|n| format!("audit/{n}")))
        .chain(audit.iter().map(|n| format!("audit_neg/{n}")))
        .chain(["output/logits", "relevance_neg/input", "relevance_pos/input"].map(String::from))
        .collect();
    assert_eq!(names, expected);
    let sum = |name: &str, reader: &mut NpzReader<fs::File>| -> f32 {
        let r: ndarray::ArrayD<f32> = reader.by_name(name).unwrap();
        r.sum()
    };
    let sums = [sum("relevance_pos/input", &mut reader), sum("relevance_neg/input", &mut reader)];
    // Biases take nothing: each track reaches the pixels, but for windows of black pixels, which contribute nothing.
    assert!(sums.iter().all(|s| (95.0..=100.0).contains(s)), "{sums:?}");

    ok(&[&["compile", DIGITS, "-o", &artifact], contrastive]);
    let summary: serde_json::Value =
        serde_json::from_str(&ok(&[&["run", &artifact, "--json"], &DIGIT])).unwrap();
    assert_eq!(summary["mode"], "contrastive");
    assert!((summary["opposing"]["start"].as_f64().unwrap() - 100.0).abs() < 1e-4, "{summary}");
    let reached = summary["opposing"]["inputs"]["input"].as_f64().unwrap();
    assert!((reached - f64::from(sums[1])).abs() < 1e-3, "{reached} {sums:?}");
}

#[test]
fn composites_are_listed_printed_and_read_from_files() {
    let list = ok(&[&["rules"]]);
    for text in [&list, &ok(&[&["run", "--help"]])] {
        assert!(
            text.contains("docs/src/concepts/which-composite.md") && text.contains("Transformers: attnlrp"),
            "{text}"
        );
    }
    assert!(list.contains("lrp-epsilon") && list.contains("Contribution-proportional"), "{list}");
    let text = ok(&[&["rules", "lrp-epsilon"]]);
    let folder = folder();
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, text.replace("lrp-epsilon", "mine")).unwrap();
    let file = file.display().to_string();
    let run = |rules: &str| -> serde_json::Value {
        serde_json::from_str(&ok(&[&["run", DIGITS, "--rules", rules, "--json"], &DIGIT])).unwrap()
    };
    let (shipped, mine) = (run("lrp-epsilon"), run(&file));
    assert_eq!((shipped["inputs"].clone(), mine["rules"].as_str()), (mine["inputs"].clone(), Some("mine")));
    assert_ne!(shipped["rules_hash"], mine["rules_hash"]);
    assert_eq!(shipped["rules_hash"].as_str().unwrap().len(), 64);
    // A mistake: file, line, what is wrong.
    std::fs::write(&file, text.replace("pass", "pas")).unwrap();
    let error = fails(2, &[&["run", DIGITS, "--rules", &file], &DIGIT]);
    assert!(error.contains("mine.toml:") && error.contains("unknown rule `pas`"), "{error}");
    assert!(fails(2, &[&["run", DIGITS, "--rules", "/nowhere.toml"], &DIGIT]).contains("/nowhere.toml"));
    fails(2, &[&["rules", "magic"]]);
}

#[test]
fn code_6_results_that_differ_more_than_allowed() {
    let folder = folder();
    let result = |rules: &str| {
        let path = folder.path().join(format!("{rules}.npz")).display().to_string();
        ok(&[&["run", DIGITS, "--rules", rules, "--target", "3", "--out", &path], &DIGIT]);
        path
    };
    let (a, b) = (result("dlb"), result("lrp-epsilon"));
    let same = ok(&[&["diff", &a, &a, "--min-rank", "1", "--max-l1", "0", "--min-overlap", "1"]]);
    assert!(same.contains("1.0000"), "{same}");
    let json: serde_json::Value = serde_json::from_str(&ok(&[&["diff", &a, &b, "--json"]])).unwrap();
    let input = &json["tensors"][0];
    assert!(
        input["cosine"].as_f64().unwrap() < 0.9 && input["moves"].as_array().unwrap().len() == 5,
        "{json}"
    );
    let failed = dlbc(&[&["diff", &a, &b, "--min-rank", "0.99"]]);
    assert_eq!(failed.code, Some(6), "{}", failed.err);
    assert!(
        failed.err.contains("rank correlation") && failed.out.contains("largest moves"),
        "{}",
        failed.err
    );
    assert_eq!(dlbc(&[&["diff", &a, &b, "--max-l1", "0.01"]]).code, Some(6));
    // The formats of a result are one to it, and targets, tracks and intermediate tensors are compared one by one.
    let keep = ["--keep", "all", "--target", "3,5"];
    let files = ["r.npz", "r.safetensors", "r.json"].map(|name| path(&folder, name));
    for file in &files {
        ok(&[&["run", DIGITS, "--out", file], &keep, &DIGIT]);
    }
    for other in &files[1..] {
        let same = ok(&[&["diff", &files[0], other, "--max-l1", "0", "--min-rank", "1"]]);
        assert!(same.contains("target/5/relevance/conv1.out") && same.contains("relu2.out"), "{same}");
        assert!(!same.contains("largest moves"), "{same}");
    }
    let moved = dlbc(&[&["diff", &b, &files[2], "--moves", "2", "--min-cosine", "0.9"]]);
    assert!(moved.out.contains("only in the second: ") && moved.err.contains("cosine"), "{}", moved.out);
    assert_eq!((moved.code, moved.out.matches("input[").count()), (Some(6), 2));
    assert!(fails(3, &[&["diff", &a, "/nowhere.npz"]]).contains("/nowhere.npz"));
    assert!(fails(3, &[&["diff", &a, "fixtures/digits_cnn/input.npz"]]).contains("no relevance"));
}

/// The comparison names what else differs: rules, target, texts, answers; moves have the names of tokens and features.
#[test]
fn a_difference_names_its_causes() {
    let folder = folder();
    let bert = "fixtures/sentiment_bert/model.onnx";
    let texts = |second: &str| ["--text", "A waste of two hours.", "--text", second].map(str::to_string);
    let run = |name: &str, second: &str, extra: &[&str]| {
        let out = path(&folder, name);
        let texts = texts(second);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        ok(&[&["run", bert, "--out", &out], &texts, extra]);
        out
    };
    for kind in ["npz", "safetensors", "json"] {
        let a = run(&format!("a.{kind}"), "It was ok.", &["--rules", "attnlrp", "--target", "0"]);
        let b = run(&format!("b.{kind}"), "It is fine.", &["--rules", "dlb", "--target", "1"]);
        let text = ok(&[&["diff", &a, &b, "--moves", "12"]]);
        for what in
            ["rules ", "attnlrp", "target ", "It was ok.", "input_ids[0,2] waste", "was / is", "sample 1"]
        {
            assert!(text.contains(what), "{kind}: {what}: {text}");
        }
        let report: Value = serde_json::from_str(&ok(&[&["diff", &a, &b, "--json"]])).unwrap();
        assert_eq!(report["argmax"][0]["sample"], 1, "{report}");
        assert_eq!(report["tensors"][0]["samples"].as_array().unwrap().len(), 2);
        let same: Value = serde_json::from_str(&ok(&[&["diff", &a, &a, "--json"]])).unwrap();
        assert!(same["settings"].as_array().unwrap().is_empty(), "{same}");
    }
    // Padding of the shorter text does not count.
    let short = run("short.npz", "Fine.", &["--rules", "attnlrp"]);
    let report: Value = serde_json::from_str(&ok(&[&["diff", &short, &short, "--json"]])).unwrap();
    assert_eq!(report["tensors"][0]["rank"], 1.0);

    let result = path(&folder, "row.npz");
    ok(&[&["run", TABLE, "--out", &result], &ROWS]);
    let other = path(&folder, "other.npz");
    ok(&[&["run", TABLE, "--out", &other, "--row", "3"], &ROWS]);
    let text = ok(&[&["diff", &result, &other]]);
    assert!(text.contains("inputs_hash") && text.contains("worst "), "{text}");
}

#[test]
fn two_models_are_compared_on_the_same_inputs() {
    let folder = folder();
    let second = path(&folder, "second.onnx");
    fs::copy(DIGITS, &second).unwrap();
    let text = ok(&[&["diff", DIGITS, &second, "--rules", "lrp-epsilon", "--max-l1", "0"], &BATCH]);
    assert!(text.contains("second.onnx") && text.contains("1.0000"), "{text}");
    let result = path(&folder, "r.npz");
    ok(&[&["run", DIGITS, "--out", &result], &BATCH]);
    assert!(fails(2, &[&["diff", DIGITS, &result]]).contains("expected two results"));
    assert!(help_after(2, &[&["diff", DIGITS, &second]]).contains("--inputs"));
    assert!(fails(2, &[&["diff", &result, &result], &BATCH]).contains("results have their own"));
    assert!(fails(2, &[&["diff", &result, &result, "--rules", "dlb"]]).contains("`--rules` has no effect"));
    assert!(
        fails(2, &[&["diff", DIGITS, &second, "--out", "x.npz"], &BATCH]).contains("`--out` has no effect")
    );
}

#[test]
fn code_5_no_device() {
    assert!(
        fails(5, &[&["run", DIGITS, "--device", "cuda:99"], &DIGIT]).starts_with("error: no CUDA device: ")
    );
    if dlbc_cuda::open(0).is_ok() {
        eprintln!("skipped: this machine has a CUDA device");
        return;
    }
    assert!(fails(5, &[&["run", DIGITS, "--device", "cuda"], &DIGIT]).starts_with("error: no CUDA device: "));
    let auto = dlbc(&[&["run", DIGITS, "--device", "auto"], &DIGIT]);
    assert_eq!(auto.code, Some(0), "{}", auto.err);
    assert!(!auto.err.contains("CUDA") && !auto.err.contains("processor"), "{}", auto.err);
}

#[test]
fn code_7_limits() {
    for (flag, value) in [("--max-model-bytes", "100"), ("--max-nodes", "2"), ("--max-tensor-bytes", "16")] {
        assert!(help_after(7, &[&["run", DIGITS, flag, value], &DIGIT]).contains(flag));
    }
    assert!(help_after(7, &[&["run", DIGITS, "--timeout", "0.000001"], &DIGIT]).contains("--timeout"));
}

#[test]
fn an_error_leaves_no_file() {
    let folder = folder();
    let (npz, png) = (path(&folder, "r.npz"), path(&folder, "r.png"));
    fails(2, &[&["run", DIGITS, "--target", "99", "--out", &npz, "--heatmap", &png], &DIGIT]);
    fails(4, &[&["export", DIGITS, "-o", &npz, "--mode", "contrastive", "--rules", "gradient"]]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn names_cannot_steer_the_terminal() {
    let folder = folder();
    let model = one_node(&folder, "Relu", "a\u{1b}[2J\u{202e}");
    for words in [&["inspect", &model][..], &["inspect", &model, "--json"]] {
        let text = ok(&[words]);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let mut child = command(&["run", DIGITS, "--image", DIGIT[1]])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    if Path::new("/dev/full").exists() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let done = command(&["inspect", DIGITS]).stdout(full).output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&done.stderr).starts_with("error: cannot write to standard output"));
    }
}
