//! Models of trees on the command line: Shapley values against a background.

use super::*;

const MODEL: &str = "fixtures/pipelines/lightgbm_3.onnx";
const TABLE: &str = "fixtures/tables/wine.csv";

#[test]
fn the_other_rows_are_the_background() {
    let done = dlbc(&[&["run", MODEL, "--csv", TABLE, "--row", "3"]]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("composite `treeshap`"), "{}", done.err);
    assert!(done.err.contains("background: the 29 other rows of the table"), "{}", done.err);
    let run = json(&[&["run", MODEL, "--csv", TABLE, "--row", "3", "--ledger"]]);
    let sum: f64 = run["inputs"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum();
    let (start, absorbed) = (run["start"].as_f64().unwrap(), run["absorbed"].as_f64().unwrap());
    assert!((start - sum - absorbed).abs() < 1e-6 * start.abs().max(1.0), "{run}");
    assert_eq!(run["rules"], "treeshap");
}

#[test]
fn a_background_is_a_file() {
    let values = |extra: &[&str]| {
        json(&[&["run", MODEL, "--csv", TABLE, "--rules", "treeshap"], extra])["features"].clone()
    };
    let table = values(&["--background", TABLE]);
    assert_eq!(table.as_array().unwrap().len(), 13);
    // The explained row itself is among the rows of the file.
    assert_ne!(table, values(&[]));
    let folder = folder();
    let rows = path(&folder, "few.csv");
    let first: Vec<String> = fs::read_to_string(TABLE).unwrap().lines().take(5).map(Into::into).collect();
    fs::write(&rows, first.join("\n")).unwrap();
    let few = ["run", MODEL, "--csv", &rows];
    let error = fails(2, &[&few]);
    assert!(error.contains("take a background"), "{error}");
    assert!(help_after(2, &[&few]).contains("`--background FILE`"));
    ok(&[&few, &["--background", TABLE, "--target", "0-2"]]);
}

#[test]
fn flags_without_effect_are_refused() {
    let run = ["run", MODEL, "--csv", TABLE];
    assert!(fails(2, &[&run, &["--multiplier", "3"]]).contains("expected no multiplier"));
    assert!(fails(2, &[&run, &["--scaler", "3"]]).contains("raw score"));
    assert!(fails(2, &[&run, &["--rules", "treeshap", "--mode", "contrastive"]]).contains("contrastive"));
    let network = ["run", "fixtures/tables/wine.onnx", "--csv", TABLE];
    assert!(fails(2, &[&network, &["--background", TABLE]]).contains("`--rules treeshap` only"));
    assert!(fails(4, &[&network, &["--rules", "treeshap"]]).contains("without trees"));
    assert!(fails(4, &[&run, &["--rules", "dlb"]]).contains("no input that carries relevance"));
}

#[test]
fn auto_takes_weights_of_linear_models() {
    let linear =
        ["run", "fixtures/pipelines/linear.onnx", "--csv", "fixtures/tables/diabetes.csv", "--rules", "auto"];
    let done = dlbc(&[&linear]);
    assert!(done.code == Some(0) && done.err.contains("composite `grad-x-input`"), "{}", done.err);
}
