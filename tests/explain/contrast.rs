//! Contrastive mode on whole models: the ledgers of both tracks close, no share is negative, backends and exports agree, and the
//! explanation depends on the class.

use std::collections::BTreeSet;

use crate::common::*;
use dlbc_compiler::{Mode, Options};
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Request, Target, Tensors};

const COMPOSITES: [&str; 5] = ["dlb", "dlb-v1", "dlb-v1-literal", "dlb-v2", "dlb-values"];

#[test]
fn every_model_runs_and_both_tracks_close() {
    if zoo().is_none() {
        return;
    }
    let (mut seen, mut faults, mut runs) = (BTreeSet::new(), vec![], 0);
    for m in zoo_models(&[VISION_AND_TABULAR, SEQUENCE].concat()) {
        // One export of each model.
        if !seen.insert(m.name.split('/').next_back().unwrap().split('.').next().unwrap().to_string()) {
            continue;
        }
        for rules in COMPOSITES {
            let program = contrastive(&m.model, rules);
            let inputs = inputs_of(&program, &npz(&m.inputs));
            let request = Request::new().ledger().target(Target::Index(0));
            let actual = explain(&cpu(program, 2), &inputs, &request);
            let opposing = actual.opposing.as_ref().unwrap();
            runs += 1;
            for (track, relevance, start, ledger) in [
                (
                    "supporting",
                    &actual.supporting.relevance,
                    actual.supporting.seed_sum,
                    &actual.supporting.ledger,
                ),
                ("opposing", &opposing.relevance, opposing.seed_sum, &opposing.ledger),
            ] {
                for (name, r) in relevance {
                    let smallest = r.to_f32().iter().fold(0f32, |smallest, v| {
                        if v.is_nan() { f32::NEG_INFINITY } else { smallest.min(*v) }
                    });
                    if smallest < 0.0 {
                        faults.push(format!("{} {rules} {track}: relevance {smallest} of {name}", m.name));
                    }
                }
                let rows = ledger.as_ref().unwrap();
                faults.extend(
                    rows.iter()
                        .filter(|row| row.residual().abs() > 1e-4 * start.abs().max(1.0))
                        .map(|row| format!("{} {rules} {track}: {row:?}", m.name)),
                );
                let arrived: f64 = relevance.values().flat_map(|r| r.to_f64()).sum();
                let absorbed: f64 = rows.iter().map(|r| r.absorbed).sum();
                if (start - arrived - absorbed).abs() > 1e-4 * start.abs().max(1.0) {
                    faults
                        .push(format!("{} {rules} {track}: {start} is not {arrived} and {absorbed}", m.name));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {runs} runs:\n{}", faults.len(), faults.join("\n"));
    println!("{runs} contrastive runs of {} models", seen.len());
}

fn fixture(name: &str) -> (std::path::PathBuf, Tensors) {
    let folder = root().join("fixtures").join(name);
    (folder.join("model.onnx"), npz(&folder.join("input.npz")))
}

#[test]
fn both_backends_agree() {
    for (name, rules) in [("digits_cnn", "dlb"), ("digits_cnn", "dlb-v1"), ("tabular_mlp", "dlb-v1-literal")]
    {
        let (model, inputs) = fixture(name);
        let program = contrastive(&model, rules);
        let inputs = inputs_of(&program, &inputs);
        let request = Request::new().target(Target::Index(0));
        let expected = explain(&reference(program.clone()), &inputs, &request);
        let actual = explain(&cpu(program, 2), &inputs, &request);
        let (theirs, ours) = (expected.opposing.unwrap(), actual.opposing.unwrap());
        for (a, b) in [
            (&actual.supporting.relevance, &expected.supporting.relevance),
            (&ours.relevance, &theirs.relevance),
        ] {
            for (input, expected) in b {
                let gap = relative_l1(&a[input], expected);
                assert!(gap <= 1e-4, "{name} {rules} {input}: {gap:e}");
            }
        }
    }
}

#[test]
fn several_targets_in_one_run_equal_runs_of_their_own() {
    for name in ["digits_cnn", "sentiment_lstm"] {
        let session = cpu(contrastive(&root().join("fixtures").join(name).join("model.onnx"), "dlb"), 2);
        let inputs = match name {
            "digits_cnn" => inputs_of(session.program(), &fixture(name).1),
            _ => {
                let ids = |values: &[i64]| Tensor::from_i64(&[1, 6], values);
                Tensors::from([
                    ("input_ids".to_string(), ids(&[5, 9, 2, 11, 3, 8])),
                    ("attention_mask".to_string(), ids(&[1; 6])),
                ])
            }
        };
        let targets = [Target::Index(0), Target::Difference(1, 0), Target::Index(1)];
        let together = session.explain_targets(&inputs, &targets, &Request::default()).unwrap();
        for (target, actual) in targets.into_iter().zip(together) {
            let separate = explain(&session, &inputs, &Request::new().target(target));
            let (ours, theirs) = (actual.opposing.unwrap(), separate.opposing.unwrap());
            for (a, b) in [
                (&actual.supporting.relevance, &separate.supporting.relevance),
                (&ours.relevance, &theirs.relevance),
            ] {
                for (input, expected) in b {
                    let gap = relative_l1(&a[input], expected);
                    assert!(gap <= 1e-6, "{name} {target:?} {input}: {gap:e}");
                }
            }
        }
    }
}

/// The correlation of two maps.
fn correlation(a: &Tensor, b: &Tensor) -> f64 {
    let centred = |t: &Tensor| {
        let v = t.to_f64();
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| x - mean).collect::<Vec<_>>()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

#[test]
fn what_is_explained_depends_on_the_class() {
    let (model, inputs) = fixture("digits_cnn");
    let maps = |program| {
        let session = cpu(program, 1);
        let inputs = inputs_of(session.program(), &inputs);
        [3, 8].map(|class| {
            let request = Request::new().target(Target::Index(class));
            explain(&session, &inputs, &request).net("input").unwrap()
        })
    };
    let [a, b] = maps(program(&model, "dlb"));
    let one_track = correlation(&a, &b);
    let [a, b] = maps(contrastive(&model, "dlb"));
    let two_tracks = correlation(&a, &b);
    assert!(one_track > 0.95, "one track hardly knows the class: {one_track}");
    assert!(two_tracks < 0.7, "two tracks do: {two_tracks}");
}

#[test]
fn an_export_gives_both_tracks_in_onnx_runtime() {
    for name in ["digits_cnn", "tabular_mlp"] {
        let (model, inputs) = fixture(name);
        let program = contrastive(&model, "dlb");
        let inputs = inputs_of(&program, &inputs);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("explained.onnx");
        dlbc_proto::write_model(&path, &dlbc_artifact::export(&program, &Default::default()).unwrap())
            .unwrap();
        let arrays = root().join("fixtures").join(name).join("input.npz");
        let Some(results) = onnx_runtime(&[(path, arrays)]) else { return };
        let expected = explain(&cpu(program, 1), &inputs, &Request::default());
        let opposing = expected.opposing.unwrap();
        for (prefix, relevance) in
            [("relevance_pos", &expected.supporting.relevance), ("relevance_neg", &opposing.relevance)]
        {
            for (input, expected) in relevance {
                let gap = relative_l1(&results[0][&format!("{prefix}/{input}")], expected);
                assert!(gap <= 1e-4, "{name} {prefix}/{input}: {gap:e}");
            }
        }
    }
}

#[test]
fn rules_of_one_track_are_refused_with_their_place() {
    let (model, _) = fixture("tabular_mlp");
    let proto = dlbc_proto::read_model(&model, &dlbc_proto::Limits::default()).unwrap();
    for rules in dlbc_compiler::built_in_names() {
        let options = Options { rules: rules.into(), mode: Mode::Contrastive, ..Options::default() };
        let compiled = dlbc_compiler::compile(&proto, &options);
        match compiled {
            Ok(_) => assert!(COMPOSITES.contains(&rules), "{rules}"),
            Err(e) => {
                let text = e.to_string();
                assert!(
                    !COMPOSITES.contains(&rules) && text.contains(&format!("rules/{rules}.toml:")),
                    "{text}"
                );
                assert!(text.contains("contrastive"), "{text}");
                assert_eq!(e.kind(), dlbc_compiler::ErrorKind::Unsupported);
            }
        }
    }
}

#[test]
fn two_units_of_opposite_sign_are_told_apart() {
    // Both logits of this network nearly mirror each other: the rival of a positive one is negative and has nothing to
    // speak for it.
    let session = cpu(contrastive(&root().join("fixtures/sentiment_lstm/model.onnx"), "dlb"), 1);
    let ids = |values: &[i64]| Tensor::from_i64(&[1, 6], values);
    let inputs = Tensors::from([
        ("input_ids".to_string(), ids(&[5, 9, 2, 11, 3, 8])),
        ("attention_mask".to_string(), ids(&[1; 6])),
    ]);
    let actual = explain(&session, &inputs, &Request::default());
    let net = actual.net("input_ids").unwrap().to_f64();
    let size = |values: &[f64]| values.iter().map(|v| v.abs()).sum::<f64>();
    let supporting = actual.supporting.relevance["input_ids"].to_f64();
    assert!(size(&net) > 0.05 * size(&supporting), "{net:?} of {supporting:?}");
}
