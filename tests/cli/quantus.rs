//! `dlbc eval` gives Quantus' numbers on the same maps: recorded ones, and those of a live Quantus where it is there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::root;
use serde_json::Value;

/// Largest difference of a number.
const BAR: f64 = 1e-3;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .unwrap()
}

fn recorded() -> Value {
    json(&root().join("fixtures/quantus/digits_cnn.json"))
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap_or_else(|| panic!("a number expected, found {other}"))],
    }
}

fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn metrics_are_those_of_quantus() {
    let recorded = recorded();
    let settings = &recorded["settings"];
    let rules: Vec<&String> = recorded["results"].as_object().unwrap().keys().collect();
    let metrics: Vec<&String> = recorded["results"][rules[0]].as_object().unwrap().keys().collect();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("eval.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
    command.current_dir(root()).args(["eval", "fixtures/digits_cnn/model.onnx", "--quiet"]);
    command.args(["--inputs", "fixtures/digits_cnn/input.npz", "--mask", "fixtures/quantus/mask.npz"]);
    for flag in ["step", "patch", "runs", "subset", "draws", "radius", "seed"] {
        command.arg(format!("--{flag}")).arg(settings[flag].to_string());
    }
    let list = |names: &[&String]| names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(",");
    command.args(["--rules", &list(&rules), "--metrics", &list(&metrics), "--out"]).arg(&out);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report = json(&out);
    let mut compared = 0;
    for result in report["results"].as_array().unwrap().iter().filter(|r| r["control"] == false) {
        let rules = result["rules"].as_str().unwrap();
        for (metric, expected) in recorded["results"][rules].as_object().unwrap() {
            // Curves are compared point by point.
            let ours = match &result["curves"][metric] {
                Value::Null => &result["scores"][metric]["samples"],
                curves => curves,
            };
            let gap = gap(&numbers(ours), &numbers(expected));
            assert!(gap <= BAR, "{rules}, {metric}: {gap:e} off");
            compared += 1;
        }
    }
    assert_eq!(compared, rules.len() * metrics.len());
    assert!(compared >= 3 * 11);
}

#[test]
fn a_live_quantus_says_what_is_recorded() {
    let cache = std::env::var_os("DLBC_CACHE").map_or_else(|| root().join(".cache"), PathBuf::from);
    let python = root().join(cache).join("venv-quantus/bin/python");
    if !python.exists() {
        eprintln!("skipped: no Quantus (scripts/python_env.sh --quantus makes its environment)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("scripts/bench/record_quantus.py");
    let done =
        Command::new(python).arg(script).arg(env!("CARGO_BIN_EXE_dlbc")).arg(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (live, recorded) = (json(&folder.path().join("digits_cnn.json")), recorded());
    assert_eq!(live["quantus"], recorded["quantus"]);
    for (rules, metrics) in recorded["results"].as_object().unwrap() {
        for (metric, expected) in metrics.as_object().unwrap() {
            let gap = gap(&numbers(&live["results"][rules][metric]), &numbers(expected));
            assert!(gap <= 1e-4, "{rules}, {metric}: {gap:e} off");
        }
    }
}
