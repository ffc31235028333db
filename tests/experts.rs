//! Mixtures of experts: who was given what, however the tokens are sent.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_runtime::{ExpertsLayer, Request, Target};

fn layers(m: &ZooModel, request: &Request) -> Vec<ExpertsLayer> {
    let program = program(&m.model, "dlb");
    let inputs = inputs_of(&program, &npz(&m.inputs));
    explain(&cpu(program, 2), &inputs, request).experts.unwrap()
}

fn asked() -> Request {
    Request { experts: true, audit: true, target: Target::Index(3), ..Request::default() }
}

#[test]
fn shares_close_with_the_layer_and_the_ledger() {
    if zoo().is_none() {
        return;
    }
    for m in &zoo_models(EXPERTS) {
        let program = program(&m.model, "dlb");
        let inputs = inputs_of(&program, &npz(&m.inputs));
        let e = explain(&cpu(program, 2), &inputs, &asked());
        let layers = e.experts.unwrap();
        assert!(layers.len() >= 2, "{}: {} layers of experts", m.name, layers.len());
        let ids = &inputs["input_ids"];
        for layer in &layers {
            let sum: f64 = layer.experts.iter().map(|e| e.relevance).sum();
            let open = (sum - layer.received).abs() / e.start;
            assert!(open <= 1e-4, "{} {}: {sum} of {}", m.name, layer.name, layer.received);
            assert!(layer.received > 0.0, "{} {} received nothing", m.name, layer.name);
            // Each token goes to two of four experts.
            let tokens: i64 = layer.experts.iter().map(|e| e.tokens).sum();
            assert_eq!(
                (layer.experts.len(), tokens),
                (4, 2 * ids.elems() as i64),
                "{} {}",
                m.name,
                layer.name
            );
            let row = e
                .ledger
                .as_ref()
                .unwrap()
                .iter()
                .any(|r| (r.received - layer.received).abs() <= 1e-4 * e.start);
            assert!(row, "{} {}: no row of the ledger received {}", m.name, layer.name, layer.received);
        }
    }
}

#[test]
fn exports_of_the_same_weights_agree() {
    if zoo().is_none() {
        return;
    }
    let models = zoo_models(&["olmoe", "olmoe_patched"]);
    let first = layers(&models[0], &asked());
    assert!(models.len() > 2);
    for m in &models[1..] {
        let own = layers(m, &asked());
        assert_eq!(own.len(), first.len(), "{}", m.name);
        for (a, b) in own.iter().zip(&first) {
            assert_eq!(a.name, b.name, "{}", m.name);
            for (a, b) in a.experts.iter().zip(&b.experts) {
                assert_eq!(a.tokens, b.tokens, "{}", m.name);
                assert!((a.relevance - b.relevance).abs() <= 1e-4 * 100.0, "{}: {a:?}, {b:?}", m.name);
            }
        }
    }
}

#[test]
fn frozen_routing_is_reported() {
    let Some(zoo) = zoo() else { return };
    for name in FROZEN {
        let file = zoo.join(format!("{name}.onnx"));
        let proto = dlbc_proto::read_model(&file, &dlbc_proto::Limits::default()).unwrap();
        let error = dlbc_compiler::compile(&proto, &dlbc_compiler::Options::default()).err().unwrap();
        assert!(error.to_string().contains("froze"), "{name}: {error}");
    }
}

#[test]
fn experts_without_tokens_and_batches_of_tokens() {
    let folder = root().join("fixtures/experts");
    let program = program(&folder.join("model.onnx"), "dlb");
    let inputs = npz(&folder.join("input.npz"));
    let request = Request { experts: true, audit: true, ..Request::default() };
    let session = cpu(program.clone(), 2);
    let all = explain(&session, &inputs, &request);
    let expected = explain(&reference(program), &inputs, &request);
    assert!(worst_element(&all.relevance["tokens"], &expected.relevance["tokens"]) <= 1e-5);
    let layers = all.experts.unwrap();
    for layer in &layers {
        assert_eq!((layer.experts.len(), layer.experts.iter().map(|e| e.tokens).sum::<i64>()), (8, 12));
        let idle = layer.experts.iter().filter(|e| e.tokens == 0);
        assert!(idle.clone().count() > 0 && idle.clone().all(|e| e.relevance == 0.0), "{layer:?}");
    }
    // A token alone chooses as it does among others, and is explained the same.
    for row in 0..6 {
        let one = [("tokens".to_string(), pick(&inputs["tokens"], row))].into();
        let alone = explain(&session, &one, &request);
        let gap = relative_l1(&pick(&all.relevance["tokens"], row), &alone.relevance["tokens"]);
        assert!(gap <= 1e-5, "token {row}: {gap:e}");
    }
}

#[test]
fn an_artifact_and_an_export_find_the_counts_too() {
    let folder = root().join("fixtures/experts");
    let program = program(&folder.join("model.onnx"), "dlb");
    let inputs = inputs_of(&program, &npz(&folder.join("input.npz")));
    let artifact = dlbc_artifact::write(&program).unwrap();
    let read = dlbc_proto::decode(&dlbc_proto::encode(&artifact), &dlbc_proto::Limits::default()).unwrap();
    let expected = explain(&cpu(program.clone(), 1), &inputs, &Request::default());
    let again = explain(&cpu(dlbc_artifact::read(&read).unwrap(), 1), &inputs, &Request::default());
    assert_eq!(again.relevance, expected.relevance);

    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("explained.onnx");
    dlbc_proto::write_model(&path, &dlbc_artifact::export(&program, 100.0).unwrap()).unwrap();
    let Some(found) = onnx_runtime(&[(path, folder.join("input.npz"))]) else { return };
    for (name, r) in &expected.relevance {
        let gap = relative_l1(&found[0][&format!("relevance/{name}")], r);
        assert!(gap <= 1e-4, "{name}: {gap:e}");
    }
}
