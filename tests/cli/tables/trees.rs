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
    assert!(fails(2, &[&network, &["--tree-path-dependent"]]).contains("`--rules treeshap` only"));
    assert!(fails(2, &[&run, &["--start", "one"]]).contains("raw score"));
    assert!(fails(2, &[&run, &["--live", "X"]]).contains("does not apply to `treeshap`"));
    assert!(fails(2, &[&run, &["--forward-only", "--background", TABLE]]).contains("`--background`"));
    ok(&[&run, &["--start", "value"]]);
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

#[test]
fn path_dependent_values_say_what_they_count() {
    let run = ["run", MODEL, "--csv", TABLE, "--tree-path-dependent"];
    let done = dlbc(&[&run]);
    assert!(
        done.code == Some(0) && done.err.contains("covers are counted from the background"),
        "{}",
        done.err
    );
    let features = json(&[&run])["features"].clone();
    assert_ne!(features, json(&[&["run", MODEL, "--csv", TABLE]])["features"]);
    let counted = "fixtures/pipelines/contributions_regression.onnx";
    let done = dlbc(&[&["run", counted, "--csv", "fixtures/tables/diabetes.csv", "--tree-path-dependent"]]);
    assert!(done.code == Some(0) && done.err.contains("the hit rates of the model file"), "{}", done.err);
}

/// An artifact has the background that it was compiled with, and explains as the model does.
#[test]
fn artifacts_hold_the_background() {
    let folder = folder();
    let artifact = path(&folder, "wine.dlbc.onnx");
    ok(&[&["compile", MODEL, "-o", &artifact, "--background", TABLE]]);
    let run =
        |model: &str, extra: &[&str]| json(&[&["run", model, "--csv", TABLE], extra])["features"].clone();
    assert_eq!(run(&artifact, &[]), run(MODEL, &["--background", TABLE]));
    let done = dlbc(&[&["run", &artifact, "--csv", TABLE]]);
    assert!(done.err.contains("background: the 30 rows of the compiled model"), "{}", done.err);
    let flags = ["--tree-path-dependent"];
    assert_eq!(run(&artifact, &flags), run(MODEL, &["--background", TABLE, "--tree-path-dependent"]));
    let inspected = ok(&[&["inspect", &artifact]]);
    assert!(inspected.contains("treeshap") && inspected.contains("30 rows"), "{inspected}");
    // Without a background each run takes its own.
    ok(&[&["compile", MODEL, "-o", &artifact, "--rules", "treeshap"]]);
    assert_eq!(run(&artifact, &["--background", TABLE]), run(MODEL, &["--background", TABLE]));
    assert!(fails(2, &[&["compile", MODEL, "-o", &artifact, "--emit", "relevance"]]).contains("no rules"));
    let network = ["compile", "fixtures/tables/wine.onnx", "-o", &artifact, "--background", TABLE];
    assert!(fails(2, &[&network]).contains("`--rules treeshap` only"));
}

/// The picture of one row leads from the mean of the background to the score; several rows are an overview.
#[test]
fn the_picture_of_a_row_is_a_waterfall() {
    let folder = folder();
    let picture = path(&folder, "row.svg");
    let run = ["run", MODEL, "--csv", TABLE, "--heatmap", &picture];
    let row = json(&[&run, &["--row", "3"]]);
    let drawn = fs::read_to_string(&picture).unwrap();
    assert!(drawn.contains("mean of the background"), "{drawn}");
    let strongest = row["features"].as_array().unwrap().iter().map(|f| {
        let relevance = f["relevance"].as_f64().unwrap();
        (relevance.abs(), f["name"].as_str().unwrap().to_string())
    });
    let strongest = strongest.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1;
    let first = drawn.split("<text ").nth(5).unwrap();
    assert!(first.contains(&strongest), "{strongest}: {first}");
    ok(&[&run, &["--row", "all"]]);
    assert!(!fs::read_to_string(&picture).unwrap().contains("mean of the background"));
}

#[test]
fn inspect_names_the_trees() {
    let inspected: serde_json::Value = serde_json::from_str(&ok(&[&["inspect", MODEL, "--json"]])).unwrap();
    let rows = inspected["rows"].as_array().unwrap();
    let ruled: Vec<_> = rows.iter().filter(|row| row["rule"] == "treeshap").collect();
    assert!(
        ruled.len() == 1 && ruled[0]["onnx_op"].as_str().unwrap().contains("TreeEnsemble"),
        "{inspected}"
    );
    assert_eq!(inspected["rules"], "treeshap");
}
