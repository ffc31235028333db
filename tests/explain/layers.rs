//! The ledger by module and by head: sums, and both exporters of PyTorch.

use std::collections::BTreeMap;

use crate::common::*;
use dlbc_runtime::{Explanation, Request, Target};

fn with_ledgers() -> Request {
    Request::new().target(Target::Index(0)).ledger().modules().heads()
}

/// Every row of a module and of a head against the rows of the ledger.
fn check(name: &str, e: &Explanation, scopes: &BTreeMap<String, Vec<String>>, size: f64) {
    let (ledger, layers) = (e.supporting.ledger.as_ref().unwrap(), e.supporting.modules.as_ref().unwrap());
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * size;
    let whole = layers.first().unwrap();
    assert!(whole.scope.is_empty() && whole.nodes == ledger.len(), "{name}: {whole:?}");
    assert!(
        close(whole.received, e.supporting.seed_sum),
        "{name}: {whole:?}, start {}",
        e.supporting.seed_sum
    );
    assert!(
        close(whole.passed, e.supporting.input_sums.values().sum()),
        "{name}: {whole:?}, inputs {:?}",
        e.supporting.input_sums
    );
    for row in layers {
        assert!(close(row.residual(), 0.0), "{name}: {row:?}");
        let rows_within = ledger.iter().filter(|r| scopes[&r.node].starts_with(&row.scope));
        let (nodes, absorbed) = rows_within.fold((0, 0.0), |(n, sum), r| (n + 1, sum + r.absorbed));
        assert!(
            nodes == row.nodes && close(row.absorbed, absorbed),
            "{name}: {row:?}, {nodes} rows keep {absorbed}"
        );
    }
    for head in e.supporting.heads.as_ref().unwrap() {
        let row = ledger.iter().find(|r| r.node == head.node).unwrap();
        assert!(close(head.received.iter().sum(), row.received), "{name}: {head:?} of {row:?}");
        let passed: f64 = head.operands.iter().flat_map(|(_, values)| values).sum();
        assert!(close(passed, row.passed), "{name}: {head:?} of {row:?}");
        assert!(
            head.operands
                .iter()
                .all(|(name, v)| row.operands.contains(name) && v.len() == head.received.len())
        );
    }
}

fn explained(m: &ZooModel, rules: &str) -> (Explanation, f64) {
    let program = program(&m.model, rules);
    let inputs = inputs_of(&program, &npz(&m.inputs));
    let scopes = program.info.ledger.iter().map(|r| (r.node.clone(), r.scope.clone())).collect();
    let explanation = explain(&cpu(program, 2), &inputs, &with_ledgers());
    // Signed shares may be many times the start.
    let sizes = explanation
        .supporting
        .ledger
        .iter()
        .flatten()
        .map(|r| r.received.abs().max(r.passed.abs()).max(r.absorbed.abs()));
    let size = sizes.fold(explanation.supporting.seed_sum.abs(), f64::max);
    check(&format!("{} {rules}", m.name), &explanation, &scopes, size);
    (explanation, size)
}

#[test]
fn modules_and_heads_add_up_and_exporters_agree() {
    if zoo().is_none() {
        return;
    }
    for (name, attentions) in
        [("bert", 2), ("bert_sdpa", 2), ("gpt2", 2), ("llama", 2), ("llama_sdpa", 2), ("qwen3", 2)]
    {
        for rules in ["dlb", "dlb-v2", "attnlrp"] {
            // Of each module, by folder: the weights of a folder's exports are the same.
            let mut seen: BTreeMap<(String, String), (String, [f64; 2])> = BTreeMap::new();
            for m in zoo_models(&[name]) {
                let (e, size) = explained(&m, rules);
                let heads = e.supporting.heads.as_ref().unwrap();
                assert_eq!(heads.len(), attentions, "{} {rules}", m.name);
                assert!(heads.iter().all(|h| h.received.len() == 4), "{} {rules}: {heads:?}", m.name);
                let layers = e.supporting.modules.as_ref().unwrap();
                assert!(layers.len() > 10, "{}: {} modules", m.name, layers.len());
                let folder = m.name.split('/').next().unwrap().to_string();
                for row in layers.iter().filter(|r| !r.scope.is_empty() && r.nodes > 1) {
                    let key = (folder.clone(), row.scope.join("/"));
                    let totals = [row.received, row.absorbed];
                    if let Some((other, sums)) = seen.insert(key, (m.name.clone(), totals)) {
                        let gap = sums.iter().zip(totals).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                        assert!(gap <= 1e-3 * size, "{rules}: {row:?} of {}, {sums:?} of {other}", m.name);
                    }
                }
            }
        }
    }
}

#[test]
fn every_zoo_model_has_its_modules_and_closes_them() {
    if zoo().is_none() {
        return;
    }
    let mut with_heads = 0;
    for m in zoo_models(&[VISION_AND_TABULAR, SEQUENCE].concat()) {
        let (e, _) = explained(&m, "dlb");
        with_heads += usize::from(!e.supporting.heads.as_ref().unwrap().is_empty());
    }
    assert!(with_heads > 20, "{with_heads}");
}

#[test]
fn a_compiled_file_and_several_targets_have_the_same_rows() {
    let model = root().join("fixtures/sentiment_bert/model.onnx");
    let program = program(&model, "dlb");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bert.dlbc.onnx");
    dlbc_proto::write_model(&file, &dlbc_artifact::write(&program).unwrap()).unwrap();
    let read = dlbc_artifact::read(&dlbc_proto::read_model(&file, &Default::default()).unwrap()).unwrap();
    assert_eq!(read.info, program.info);
    let ids = dlbc_runtime::Tensor::from_i64(&[1, 6], &[2, 40, 60, 80, 100, 3]);
    let mask = dlbc_runtime::Tensor::from_i64(&[1, 6], &[1; 6]);
    let inputs = [("input_ids".to_string(), ids), ("attention_mask".to_string(), mask)].into();
    let session = cpu(read, 2);
    let separate = explain(&cpu(program, 2), &inputs, &with_ledgers());
    let targets = [Target::Index(1), Target::Index(0)];
    let together = session.explain_targets(&inputs, &targets, &with_ledgers()).unwrap().remove(1);
    let (a, b) = (separate.supporting.modules.unwrap(), together.supporting.modules.unwrap());
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert!(a.scope == b.scope && (a.received - b.received).abs() < 1e-3, "{a:?} {b:?}");
    }
    let (a, b) = (separate.supporting.heads.unwrap(), together.supporting.heads.unwrap());
    assert_eq!((a.len(), a[0].received.len()), (2, 4));
    for (a, b) in a.iter().zip(&b).flat_map(|(a, b)| a.received.iter().zip(&b.received)) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

#[test]
fn both_tracks_of_contrastive_mode_have_their_modules() {
    let model = root().join("fixtures/sentiment_bert/model.onnx");
    let ids = dlbc_runtime::Tensor::from_i64(&[1, 6], &[2, 40, 60, 80, 100, 3]);
    let mask = dlbc_runtime::Tensor::from_i64(&[1, 6], &[1; 6]);
    let inputs = [("input_ids".to_string(), ids), ("attention_mask".to_string(), mask)].into();
    let e = explain(&cpu(contrastive(&model, "dlb"), 2), &inputs, &with_ledgers());
    let opposing = e.opposing.unwrap();
    for (start, layers, heads, ledger) in [
        (e.supporting.seed_sum, e.supporting.modules, e.supporting.heads, e.supporting.ledger),
        (opposing.seed_sum, opposing.modules, opposing.heads, opposing.ledger),
    ] {
        let (layers, heads, ledger) = (layers.unwrap(), heads.unwrap(), ledger.unwrap());
        assert!((layers[0].received - start).abs() <= 1e-3 * start.abs(), "{:?}, start {start}", layers[0]);
        assert_eq!(heads.len(), 2);
        // Between the tracks relevance may change sides: what a module fails to account for is what its rows do.
        let open: f64 = ledger.iter().map(|r| r.residual()).sum();
        assert!((layers[0].residual() - open).abs() <= 1e-3 * start.abs(), "{:?}, rows {open}", layers[0]);
        for head in heads {
            let row = ledger.iter().find(|r| r.node == head.node).unwrap();
            assert!((head.received.iter().sum::<f64>() - row.received).abs() < 1e-2, "{head:?} {row:?}");
        }
    }
}
