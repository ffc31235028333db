//! Artifacts of earlier programs: they are read, and compute what was recorded when they were written.

use std::collections::BTreeMap;

use crate::common::command::json;
use crate::common::root;
use serde_json::Value;

/// Compares every number of `expected` with the one at the same place of `actual`; numbers may differ by `bound`.
fn compare(at: &str, expected: &Value, actual: &Value, bound: f64, faults: &mut Vec<String>) {
    match expected {
        Value::Object(fields) => {
            fields.iter().for_each(|(k, v)| compare(&format!("{at}.{k}"), v, &actual[k], bound, faults));
        }
        Value::Array(items) if actual.as_array().is_some_and(|a| a.len() == items.len()) => {
            items.iter().zip(0..).for_each(|(v, i)| {
                compare(&format!("{at}[{i}]"), v, &actual[i as usize], bound, faults);
            });
        }
        Value::Number(number) => {
            let gap = actual.as_f64().zip(number.as_f64()).map(|(a, b)| (a - b).abs());
            if gap.is_none_or(|gap| gap.is_nan() || gap > bound) {
                faults.push(format!("{at}: expected {expected}, found {actual}"));
            }
        }
        _ if expected == actual => {}
        _ => faults.push(format!("{at}: expected {expected}, found {actual}")),
    }
}

#[test]
fn artifacts_of_earlier_programs_compute_what_was_recorded() {
    let folder = root().join("fixtures/artifacts");
    let recorded = std::fs::read(folder.join("sums.json")).unwrap();
    let recorded: BTreeMap<String, Value> = serde_json::from_slice(&recorded).unwrap();
    let files = std::fs::read_dir(&folder).unwrap();
    let files = files.filter(|f| f.as_ref().unwrap().path().to_string_lossy().ends_with(".dlbc.onnx"));
    assert_eq!(files.count(), recorded.len(), "every artifact has recorded sums");
    let mut faults = vec![];
    for (name, mut expected) in recorded {
        let flags = expected.as_object_mut().unwrap().remove("flags").unwrap();
        let flags: Vec<&str> = flags.as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        let file = |suffix: &str| folder.join(format!("{name}{suffix}")).to_string_lossy().into_owned();
        let [artifact, inputs] = [file(".dlbc.onnx"), file(".npz")];
        let start = expected["start"].as_f64().unwrap().abs();
        // The recorded numbers are those of the reference backend; the processor's sums are of float32.
        for (device, tolerance) in [("reference", 1e-6), ("cpu", 1e-5)] {
            let summary = json(&[&["run", &artifact, "--inputs", &inputs, "--device", device], &flags]);
            compare(&format!("{name} {device}"), &expected, &summary, tolerance * start, &mut faults);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
