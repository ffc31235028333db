//! Exported explanations of quantised models: ONNX Runtime gives the outputs and the relevance that dlbc gives.

use std::path::Path;

use dlbc_runtime::{Request, Tensors};

use crate::common::*;
use crate::quantised::{Form, quantise, worse};

/// Bound of a difference: an export holds float layers, whose sums have another order in ONNX Runtime.
const BOUND: f64 = 1e-5;
/// Bound where that lets an activation next to a half round the other way.
const OTHER_ROUNDING: f64 = 3e-2;

/// Forms of a small convolutional network, a transformer and a recurrent network.
#[test]
fn exports_of_quantised_forms_run_in_onnx_runtime() {
    let (Some(python), folder) = (python(), tempfile::tempdir().unwrap()) else { return };
    let ids = folder.path().join("ids.npz");
    let mut file = ndarray_npy::NpzWriter::new(std::fs::File::create(&ids).unwrap());
    file.add_array("input_ids", &ndarray::arr2(&[[5i64, 9, 2, 11, 3, 8]])).unwrap();
    file.add_array("attention_mask", &ndarray::arr2(&[[1i64; 6]])).unwrap();
    file.finish().unwrap();
    let digits = root().join("fixtures/digits_cnn/input.npz");
    let models = [("digits_cnn", &digits), ("sentiment_bert", &ids), ("sentiment_lstm", &ids)];
    let models = models.map(|(name, inputs)| {
        let model = root().join("fixtures").join(name).join("model.onnx");
        format!("{name}={}:{}", model.display(), inputs.display())
    });
    let mut forms = quantise(&python, folder.path(), &models);
    forms.retain(|form| !form.form.starts_with("half"));
    let faults: Vec<&String> = forms.iter().filter_map(|form| form.fault.as_ref()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let rules = ["dlb", "attnlrp"];
    let pairs: Vec<(&Form, &str)> = forms.iter().flat_map(|form| rules.map(|rules| (form, rules))).collect();
    let (mut jobs, mut explained) = (vec![], vec![]);
    for (i, (form, rules)) in pairs.iter().enumerate() {
        let export = folder.path().join(format!("explained.{i}.onnx"));
        explained.push(explain_and_export(&form.model(folder.path()), &form.inputs, rules, &export));
        jobs.push((export, form.inputs.clone()));
    }
    let results = onnx_runtime(&jobs).unwrap();
    let (mut rounded, mut equal) = (0, 0);
    for (((form, rules), expected), actual) in pairs.iter().zip(&explained).zip(&results) {
        let gaps = expected.iter().map(|(name, expected)| relative_l1(&actual[name], expected));
        let gap = gaps.fold(0.0, worse);
        let is_rounded = ["dynamic", "qdq", "qoperator"].contains(&form.form.as_str());
        let bound = if is_rounded { OTHER_ROUNDING } else { BOUND };
        assert!(gap <= bound, "{} {} {rules}: {gap:e}", form.name, form.form);
        rounded += usize::from(is_rounded);
        equal += usize::from(is_rounded && gap <= BOUND);
    }
    assert!(4 * equal >= 3 * rounded, "{equal} of {rounded} explanations are equal");
}

/// Writes the export of a model; returns its outputs and the relevance of its inputs, by their names in the export.
fn explain_and_export(model: &Path, inputs: &Path, rules: &str, export: &Path) -> Tensors {
    let program = program(model, rules);
    dlbc_proto::write_model(export, &dlbc_artifact::export(&program, &Default::default()).unwrap()).unwrap();
    let inputs = inputs_of(&program, &npz(inputs));
    let explanation = explain(&cpu(program, 2), &inputs, &Request::default());
    let relevance = explanation.supporting.relevance.into_iter();
    explanation
        .outputs
        .into_iter()
        .chain(relevance.map(|(name, r)| (format!("relevance/{name}"), r)))
        .collect()
}
