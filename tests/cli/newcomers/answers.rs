//! Answers that a line of text cannot show: signs, orders, bytes of files.

use serde_json::Value;

use super::files::Files;
use super::{Done, run};
use crate::common::npz;

/// Items of the reports that are tested here.
pub const ITEMS: &[&str] =
    &["W1", "W5.2", "W6", "A11.2", "B1", "B14", "C1", "C3", "C4", "C7", "C11", "C12", "D7"];

fn ok(command: &str, files: &Files) -> Done {
    let done = run(command, "", files).unwrap();
    assert_eq!(done.code, 0, "{command}: {}", done.err);
    done
}

fn json(command: &str, files: &Files) -> Value {
    serde_json::from_str(&ok(&format!("{command} --json"), files).out).unwrap()
}

/// The relevance of a token of the only text.
fn token(summary: &Value, token: &str) -> f64 {
    let tokens = summary["tokens"][0].as_array().unwrap();
    let entry =
        tokens.iter().find(|t| t["token"] == token).unwrap_or_else(|| panic!("{token} in {tokens:?}"));
    entry["relevance"].as_f64().unwrap()
}

const WASTE: &str = "run fixtures/sentiment_bert/model.onnx --text \"A waste of two hours.\"";

/// Red speaks for what was asked: "waste" for negative and against positive.
#[test]
fn waste_speaks_for_negative_and_against_positive() {
    let files = Files::new();
    for rules in ["attnlrp", "cp-lrp", "integrated-gradients"] {
        for (target, sign) in [("0", 1.0), ("1", -1.0), ("0-1", 1.0), ("1-0", -1.0)] {
            let relevance =
                token(&json(&format!("{WASTE} --rules {rules} --target {target}"), &files), "waste");
            assert!(relevance * sign > 0.0, "{rules} --target {target}: {relevance}");
        }
    }
}

/// A negative prediction: what makes it smaller is negative, as its Shapley value is.
#[test]
fn a_negative_prediction_keeps_its_signs() {
    let files = Files::new();
    let truth = npz(&super::root().join("fixtures/tables/diabetes.npz"));
    let (scores, shapley) = (truth["scores"].to_f64(), truth["shapley_mean"].to_f64());
    let row = (0..30).min_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
    assert!(scores[row] < -1.0);
    let shapley = &shapley[row * 10..][..10];
    let largest = (0..10).max_by(|a, b| shapley[*a].abs().total_cmp(&shapley[*b].abs())).unwrap();
    for rules in ["lrp-epsilon", "integrated-gradients"] {
        let out = files.path().join("row.npz");
        let from = "run fixtures/tables/diabetes.onnx --csv fixtures/tables/diabetes.csv";
        ok(&format!("{from} --row {row} --rules {rules} --out {}", out.display()), &files);
        let relevance = npz(&out)["relevance/X"].to_f64();
        assert!(relevance[largest] * shapley[largest] > 0.0, "{rules}: {relevance:?} {shapley:?}");
    }
}

/// The bytes of a picture are those of its name.
#[test]
fn pictures_are_what_their_names_say() {
    let files = Files::new();
    let digit = "run fixtures/digits_cnn/model.onnx --image fixtures/digits_cnn/digit.png";
    for (name, start) in [("a.svg", &b"<"[..]), ("a.jpg", b"\xff\xd8\xff"), ("a.png", b"\x89PNG")] {
        ok(&format!("{digit} --heatmap $T/{name}"), &files);
        assert!(std::fs::read(files.path().join(name)).unwrap().starts_with(start), "{name}");
    }
}

/// A table's features stand in the summary by name, largest first.
#[test]
fn features_have_names_in_the_summary() {
    let files = Files::new();
    let table = "run fixtures/tables/breast_cancer.onnx --csv fixtures/tables/breast_cancer.csv";
    let summary = json(&format!("{table} --rules lrp-epsilon"), &files);
    assert_eq!(summary["features"][20]["name"], "worst radius");
}

/// Maps of two targets and their correlation.
#[test]
fn correlations_stand_in_the_summary() {
    let files = Files::new();
    let digit = "run fixtures/digits_cnn/model.onnx --image fixtures/digits_cnn/digit.png";
    let separate = json(digit, &files);
    let pearson = |summary: &Value, i: usize| summary["target_correlation"][i]["pearson"].as_f64().unwrap();
    assert!(pearson(&separate, 0) > 0.95, "{separate}");
    assert_eq!(separate["target_correlation"][0]["targets"], serde_json::json!(["argmax", "runner-up"]));
    let three = json(&format!("{digit} --target 1,2,3 --rules lrp-epsilon"), &files);
    assert_eq!(three["target_correlation"].as_array().unwrap().len(), 3);
    assert!((0..3).all(|i| pearson(&three, i) < 0.95), "{three}");
    // The comparison changes nothing of the result, and a quiet table does without.
    let again = json(&format!("{digit} --target 1"), &files);
    assert_eq!(again["inputs"], separate["inputs"]);
    assert_eq!(ok(&format!("{digit} --quiet"), &files).err, "");
}

/// An empty map says so on both streams and in JSON, with a flag to type.
#[test]
fn an_empty_map_says_why() {
    let files = Files::new();
    let nothing = ndarray::Array4::<f32>::zeros((1, 1, 8, 8));
    ndarray_npy::write_npy(files.path().join("black.npy"), &nothing).unwrap();
    let black = "run fixtures/digits_cnn/model.onnx --input $T/black.npy";
    let done = ok(black, &files);
    assert!(done.out.contains("every relevance is 0"), "{}", done.out);
    assert!(
        done.err.contains("every value of the inputs is 0") && done.err.contains("--rules gradient"),
        "{}",
        done.err
    );
    assert!(json(black, &files)["zero"].as_str().unwrap().contains("--rules gradient"));
    // A composite that is named works.
    let summary = ok(&format!("{black} --rules gradient"), &files);
    assert!(!summary.out.contains("every relevance"), "{}", summary.out);
}
