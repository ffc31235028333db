//! Outputs on demand: an explanation that holds the explained positions alone, against one that holds the whole output.

use crate::common::*;
use dlbc_ops::program::Program;
use dlbc_runtime::{Explanation, Position, Request, RuntimeError, SeedValue, Target, Tensor, Tensors, Track};

/// Bound of the relative L1 difference for products of fewer rows, whose sums may have another order.
const CLOSE: f64 = 1e-6;

/// Language models of the zoo with their inputs, as batches of two different texts where a program takes several rows.
fn models(names: &[&str]) -> Vec<(String, std::path::PathBuf, Tensors)> {
    let models = zoo_models(names).into_iter().filter(|m| m.name.ends_with(".dynamo"));
    models.map(|m| (m.name, m.model, npz(&m.inputs))).collect()
}

/// Returns an output at the explained positions of an explanation.
fn at_positions(output: &Tensor, explanation: &Explanation) -> Vec<f32> {
    let at = explanation.at_positions.as_ref().unwrap();
    let [_, positions, units] = at.dims[..] else { panic!("{:?}", at.dims) };
    let values = output.to_f32();
    let row =
        |(row, position): (usize, &usize)| values[(row * positions + position) * units..][..units].to_vec();
    at.positions.iter().enumerate().flat_map(row).collect()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1.0)
}

fn same_track(title: &str, on_demand: &Track, whole: &Track) {
    assert!(
        near(on_demand.seed_sum, whole.seed_sum),
        "{title}: {} for {}",
        on_demand.seed_sum,
        whole.seed_sum
    );
    assert_eq!(
        on_demand.relevance.keys().collect::<Vec<_>>(),
        whole.relevance.keys().collect::<Vec<_>>(),
        "{title}"
    );
    for (name, expected) in &whole.relevance {
        let gap = relative_l1(&on_demand.relevance[name], expected);
        assert!(gap <= CLOSE, "{title}, {name}: {gap:e}");
    }
    let pairs =
        on_demand.ledger.iter().flat_map(|l| l.iter()).zip(whole.ledger.iter().flat_map(|l| l.iter()));
    for (a, b) in pairs {
        let all = [(a.received, b.received), (a.passed, b.passed), (a.absorbed, b.absorbed)];
        assert!(all.iter().all(|(a, b)| near(*a, *b)), "{title}, {}: {all:?}", a.node);
    }
}

fn compare(title: &str, program: Program, inputs: &Tensors, request: &Request, targets: &[Target]) {
    let explained = program.info.explained.clone();
    let session = cpu(program, 2);
    let request = request.clone().ledger().keep_all();
    let whole = session.explain_targets(inputs, targets, &request).unwrap_or_else(|e| panic!("{title}: {e}"));
    let request = request.outputs(Vec::<String>::new());
    let on_demand =
        session.explain_targets(inputs, targets, &request).unwrap_or_else(|e| panic!("{title}: {e}"));
    for (on_demand, whole) in on_demand.iter().zip(&whole) {
        assert_eq!(whole.at_positions, None, "{title}");
        assert_eq!(on_demand.outputs.keys().collect::<Vec<_>>(), [&explained], "{title}");
        let logits = &whole.outputs[&explained];
        let [batch, _, units] = *logits.dims() else { panic!("{title}: {:?}", logits.dims()) };
        assert_eq!(on_demand.outputs[&explained].dims(), [batch, 1, units], "{title}");
        let expected = Tensor::from_f32(&[batch, 1, units], &at_positions(logits, on_demand));
        assert!(relative_l1(&on_demand.outputs[&explained], &expected) <= CLOSE, "{title}");
        assert_eq!((&on_demand.targets, &on_demand.argmax), (&whole.targets, &whole.argmax), "{title}");
        let seed = Tensor::from_f32(&[batch, 1, units], &at_positions(&whole.seed, on_demand));
        assert!(relative_l1(&on_demand.seed, &seed) <= CLOSE, "{title}");
        assert!(whole.seed.to_f32().iter().filter(|v| **v != 0.0).count() <= batch * units, "{title}");
        same_track(title, &on_demand.supporting, &whole.supporting);
        if let (Some(a), Some(b)) = (&on_demand.opposing, &whole.opposing) {
            same_track(title, a, b);
        }
    }
}

#[test]
fn explained_positions_alone_give_the_same_explanation() {
    let targets = [Target::Argmax, Target::Index(3), Target::Difference(1, 2)];
    for (name, model, inputs) in models(&["llama", "gpt2", "qwen3"]) {
        for rules in ["dlb", "attnlrp"] {
            let title = format!("{name} {rules}");
            let program = program(&model, rules);
            let inputs = inputs_of(&program, &inputs);
            let request = Request::new();
            compare(&title, program.clone(), &inputs, &request, &targets[..1]);
            let request = request.position(Position::At(2)).seed_value(SeedValue::Value);
            compare(&format!("{title}, targets"), program, &inputs, &request, &targets);
        }
        let title = format!("{name}, contrastive");
        let program = contrastive(&model, "dlb");
        let inputs = inputs_of(&program, &inputs);
        compare(&title, program.clone(), &inputs, &Request::new(), &targets[..1]);
        compare(&title, program, &inputs, &Request::new(), &targets[..2]);
    }
}

#[test]
fn experts_and_positions_of_rows_are_explained_alone() {
    for (name, model, inputs) in models(&["olmoe_patched", "llama_sdpa"]) {
        let program = program(&model, "dlb");
        let inputs = inputs_of(&program, &inputs);
        let rows = inputs.values().next().unwrap().dims()[0];
        let last = (0..rows).map(|row| 3 + row).collect();
        let dims = cpu(program.clone(), 1).predict(&inputs).unwrap()[&program.info.explained].dims().to_vec();
        let request = Request::new().position(Position::LastUnmasked { mask_len: dims[1], last });
        compare(&name, program, &inputs, &request, &[Target::Argmax]);
    }
}

#[test]
fn what_the_request_names_is_whole_and_errors_stay() {
    for (name, model, inputs) in models(&["llama"]).into_iter().take(1) {
        let program = program(&model, "dlb");
        let inputs = inputs_of(&program, &inputs);
        let explained = program.info.explained.clone();
        let session = cpu(program, 1);
        let named = explain(&session, &inputs, &Request::new().outputs([&explained]));
        assert_eq!(named.outputs[&explained], session.predict(&inputs).unwrap()[&explained], "{name}");
        let all = named.outputs[&explained].dims().to_vec();
        let on_demand = Request::new().outputs(Vec::<String>::new());
        let error = |request: Request| session.explain(&inputs, &request).unwrap_err();
        match error(on_demand.clone().target(Target::Index(1 << 40))) {
            RuntimeError::Target { shape, .. } => assert_eq!(shape, all),
            other => panic!("{other}"),
        }
        match error(on_demand.clone().position(Position::At(1 << 40))) {
            RuntimeError::Position { shape, .. } => assert_eq!(shape, all),
            other => panic!("{other}"),
        }
        assert!(matches!(error(on_demand.outputs(["absent"])), RuntimeError::UnknownOutput { .. }));
    }
}
