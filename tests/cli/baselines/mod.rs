//! `--baseline` of integrated gradients, models that normalise their input, and `--stop-at` on tables.

use std::fs;

use crate::common::command::*;
use crate::common::{npz, root};

const WINE: &str = "fixtures/tables/wine.onnx";
const ROWS: [&str; 2] = ["--csv", "fixtures/tables/wine.csv"];
const PATH_RULES: [&str; 2] = ["--rules", "integrated-gradients"];

fn start(extra: &[&str]) -> f64 {
    json(&[&["run", WINE, "--start", "value"], &ROWS, &PATH_RULES, extra])["start"].as_f64().unwrap()
}

#[test]
fn the_baseline_is_a_file_or_a_statistic_of_the_rows() {
    let folder = folder();
    let table = fs::read_to_string("fixtures/tables/wine.csv").unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let row = |i: usize| lines[i + 1].split(',').map(|v| v.parse::<f64>().unwrap()).collect::<Vec<_>>();
    let text = |values: Vec<f64>| {
        let cells: Vec<String> = values.iter().map(f64::to_string).collect();
        format!("{}\n{}\n", lines[0], cells.join(","))
    };
    let file = |name: &str, values: Vec<f64>| {
        let path = path(&folder, name);
        fs::write(&path, text(values)).unwrap();
        path
    };
    let rows: Vec<Vec<f64>> = (0..lines.len() - 1).map(row).collect();
    let column = |k: usize| rows.iter().map(|row| row[k]).collect::<Vec<f64>>();
    let mean = (0..13).map(|k| column(k).iter().sum::<f64>() / rows.len() as f64).collect();
    let median = |k: usize| {
        let mut values = column(k);
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2] + values[(values.len() - 1) / 2]) / 2.0
    };
    let median = (0..13).map(median).collect();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    close(start(&["--baseline", "mean"]), start(&["--baseline", &file("mean.csv", mean)]));
    close(start(&["--baseline", "median"]), start(&["--baseline", &file("median.csv", median)]));
    // Nothing to explain where the row itself is the baseline.
    close(start(&["--baseline", &file("own.csv", row(0))]), 0.0);
    assert!(start(&[]).abs() > 0.1);
    // The default, the mean of the training rows.
    let mean = npz(&root().join("fixtures/tables/wine.npz"))["mean"].to_f64();
    close(start(&["--baseline", &file("training.csv", mean)]), start(&[]));
}

#[test]
fn baselines_that_do_not_fit_say_what_does() {
    let run = |code: i32, extra: &[&str]| fails(code, &[&["run", WINE], &ROWS, extra]);
    let error = run(2, &["--rules", "lrp-epsilon", "--baseline", "mean"]);
    assert_eq!(error, "error: composite `lrp-epsilon` has no baseline");
    let refused =
        |code: i32, baseline: &str| run(code, &[&PATH_RULES[..], &["--baseline", baseline]].concat());
    assert!(refused(3, "nowhere.npy").contains("`nowhere.npy`"));
    assert!(refused(3, "fixtures/tables/wine.csv").contains("expected one row, found 30"));
    assert!(
        refused(3, "fixtures/tables/wine.npz").contains("expected shape [1, 13] or [13], found [30, 13]")
    );
    let ids = fails(
        2,
        &[
            &["run", "fixtures/sentiment_bert/model.onnx", "--text", "fine", "--baseline", "mean"],
            &PATH_RULES,
        ],
    );
    assert!(ids.contains("token ids"), "{ids}");
    let digit = ["run", "fixtures/digits_cnn/model.onnx", "--image", "fixtures/digits_cnn/digit.png"];
    let single = fails(2, &[&digit, &["--mean", "0", "--std", "1", "--baseline", "mean"], &PATH_RULES]);
    assert!(single.contains("baseline mean: expected several rows, found one"), "{single}");
}

#[test]
fn a_note_names_what_a_composite_of_derivatives_does_not_see() {
    let note = |rules: &str| dlbc(&[&["run", WINE, "--rules", rules], &ROWS]).err;
    assert!(
        note("grad-x-input").contains("the model normalises `X` itself, which `grad-x-input` does not take")
    );
    for rules in ["lrp-epsilon", "attnlrp", "integrated-gradients", "dlb"] {
        assert!(!note(rules).contains("normalises"), "{rules}");
    }
    let bare = dlbc(&[
        &["run", "fixtures/tables/wine_bare.onnx", "--csv", "fixtures/tables/wine_bare.csv"],
        &["--rules", "gradient"],
    ]);
    assert!(!bare.err.contains("normalises"), "{}", bare.err);
}

/// The input that only the scaler reads is gone with it, and the table fills what is left.
#[test]
fn a_table_fills_the_tensor_that_a_model_is_stopped_at() {
    let stopped = json(&[
        &["run", WINE, "--csv", "fixtures/tables/wine_bare.csv", "--stop-at", "variable"],
        &["--rules", "lrp-epsilon"],
    ]);
    let whole = json(&[&["run", WINE, "--rules", "lrp-epsilon"], &ROWS]);
    let (stopped, whole) = (&stopped["inputs"]["variable"], &whole["inputs"]["X"]);
    let gap = stopped.as_f64().unwrap() - whole.as_f64().unwrap();
    assert!(gap.abs() < 1e-3, "{stopped} is not {whole}");
}
