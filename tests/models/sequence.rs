//! Invariants of sequence models: exports of the same weights agree, padding and later tokens do not matter, rows are
//! independent.

use std::path::{Path, PathBuf};

use crate::common::*;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Position, Request, Session, Target, Tensors};

/// Encoders with a classifier on the first token.
const ENCODERS: &[&str] = &["bert", "bert_sdpa", "albert", "roberta", "distilbert", "electra"];

/// Causal language models: `[batch, position, unit]`.
const CAUSAL: &[&str] = &["llama", "llama_sdpa", "gpt2", "qwen3"];

fn audited() -> Request {
    Request::new().target(Target::Index(1))
}

/// The files of a model's exports, the first of each folder and exporter.
fn exports(name: &str) -> Vec<PathBuf> {
    zoo_models(&[name]).into_iter().map(|m| m.model).collect()
}

fn relevance(model: &Path, inputs: &Tensors, request: &Request) -> Tensors {
    let program = program(model, "dlb");
    let inputs = inputs_of(&program, inputs);
    explain(&cpu(program, 2), &inputs, request).supporting.relevance
}

fn session_of(name: &str) -> (Session, Tensors) {
    let model = &zoo_models(&[name])[0];
    let program = program(&model.model, "dlb");
    let inputs = inputs_of(&program, &npz(&model.alt));
    (cpu(program, 2), inputs)
}

#[test]
fn exports_of_the_same_weights_agree() {
    if zoo().is_none() {
        return;
    }
    let mut pairs = 0;
    for names in [
        &["bert", "bert_sdpa"][..],
        &["llama", "llama_sdpa"],
        &["vit_hf"],
        &["gpt2"],
        &["t5"],
        &["xlnet"],
        // Not rnn_tanh: the dynamo exporter unrolls it, and there the recurrent bias stands with the recurrent product.
        &["lstm"],
        &["lstm_bi2"],
        &["gru"],
        &["gru_bi"],
    ] {
        let inputs = npz(&zoo_models(names)[0].inputs);
        let mut first: Option<Tensors> = None;
        for file in names.iter().flat_map(|n| exports(n)) {
            let result = relevance(&file, &inputs, &audited());
            let expected = first.get_or_insert_with(|| result.clone());
            for (name, r) in &result {
                let gap = relative_l1(r, &expected[name]);
                assert!(gap <= 1e-4, "{}: {name} differs by {gap:e} from the first export", file.display());
            }
            pairs += 1;
        }
    }
    assert!(pairs > 12, "{pairs} exports");
}

/// The first `length` columns of `[1, sequence]`.
fn cut(t: &Tensor, length: usize) -> Tensor {
    Tensor::from_i64(&[1, length], &t.to_i64()[..length])
}

#[test]
fn padding_does_not_matter() {
    if zoo().is_none() {
        return;
    }
    for name in ENCODERS.iter().chain(CAUSAL) {
        let (session, inputs) = session_of(name);
        let mask = inputs["attention_mask"].to_i64();
        let (rows, length) = (inputs["attention_mask"].dims()[0], inputs["attention_mask"].dims()[1]);
        let real: Vec<usize> =
            (0..rows).map(|r| mask[r * length..][..length].iter().filter(|m| **m == 1).count()).collect();
        assert!(real.iter().any(|n| *n < length), "{name}: expected a padded row");
        for (row, real) in real.into_iter().enumerate() {
            let request = audited().position(Position::At(real as i64 - 1));
            let request = if CAUSAL.contains(name) { request } else { audited() };
            let padded = explain(&session, &inputs, &request).supporting.relevance;
            let short = inputs.iter().map(|(n, t)| (n.clone(), cut(&pick(t, row), real))).collect();
            let separate = explain(&session, &short, &request).supporting.relevance;
            let padded = pick(&padded["input_ids"], row).to_f64();
            let expected = separate["input_ids"].to_f64();
            let all: f64 = expected.iter().map(|v| v.abs()).sum();
            let gap: f64 = padded.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
            assert!(gap <= 1e-5 * all, "{name} row {row}: padding changes {gap:e} of {all}");
            assert!(
                padded[real..].iter().all(|v| *v == 0.0),
                "{name} row {row}: padding actual {:?}",
                &padded[real..]
            );
        }
    }
}

#[test]
fn later_tokens_do_not_matter_to_a_causal_model() {
    if zoo().is_none() {
        return;
    }
    for name in CAUSAL {
        let (session, inputs) = session_of(name);
        let inputs: Tensors = inputs.iter().map(|(n, t)| (n.clone(), pick(t, 0))).collect();
        let length = inputs["input_ids"].dims()[1];
        for position in [0, length / 2, length - 2] {
            let request = audited().position(Position::At(position as i64));
            let before = explain(&session, &inputs, &request).supporting.relevance["input_ids"].to_f64();
            let mut changed = inputs.clone();
            let mut ids = inputs["input_ids"].to_i64();
            ids[position + 1..].iter_mut().for_each(|id| *id = (*id + 17) % 150);
            changed.insert("input_ids".into(), Tensor::from_i64(&[1, length], &ids));
            let after = explain(&session, &changed, &request).supporting.relevance["input_ids"].to_f64();
            let all: f64 = before.iter().map(|v| v.abs()).sum();
            let gap: f64 = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum();
            assert!(gap <= 1e-5 * all, "{name} position {position}: later tokens change {gap:e} of {all}");
            assert!(all > 0.0);
            for later in [&before[position + 1..], &after[position + 1..]] {
                assert!(
                    later.iter().all(|v| *v == 0.0),
                    "{name} position {position}: later tokens actual {later:?}"
                );
            }
        }
    }
}

#[test]
fn permuted_rows_permute_relevance() {
    if zoo().is_none() {
        return;
    }
    for name in SEQUENCE {
        let (session, inputs) = session_of(name);
        let count = inputs.values().next().unwrap().dims()[0];
        assert!(count > 1, "{name}: expected a batch");
        let order: Vec<usize> = (0..count).rev().collect();
        let swapped: Tensors = inputs.iter().map(|(n, t)| (n.clone(), rows(t, &order))).collect();
        let straight = explain(&session, &inputs, &Request::default()).supporting.relevance;
        let turned = explain(&session, &swapped, &Request::default()).supporting.relevance;
        for (input, r) in straight {
            assert_eq!(rows(&r, &order), turned[&input], "{name}: {input}");
        }
    }
}

/// Models that were trained: of bytes, and of words.
#[test]
fn trained_models_answer_as_recorded_and_close() {
    let Some(zoo) = zoo() else { return };
    for name in ["byte_llama", "sentiment_bert", "sentiment_lstm"] {
        let file = |suffix: &str| zoo.join("trained").join(format!("{name}{suffix}"));
        let program = program(&file(".onnx"), "dlb");
        let inputs = inputs_of(&program, &npz(&file(".in.npz")));
        let request = Request::new().ledger();
        let actual = explain(&cpu(program, 2), &inputs, &request);
        for (output, expected) in npz(&file(".out.npz")) {
            let gap = relative_l1(&actual.outputs[&output], &expected);
            assert!(gap <= 1e-4, "{name} output {output}: {gap:e}");
        }
        let reached: f64 = actual.supporting.input_sums.values().sum();
        assert!(
            reached > 0.5 * actual.supporting.seed_sum,
            "{name}: {reached} of {}",
            actual.supporting.seed_sum
        );
        for row in actual.supporting.ledger.as_ref().unwrap() {
            assert!(row.residual().abs() <= 1e-4 * actual.supporting.seed_sum, "{name}: {row:?}");
        }
    }
}

/// A mask that is declared live keeps its attention in pieces and is explained.
#[test]
fn a_live_mask_gets_relevance() {
    let model = root().join("fixtures/sentiment_bert/model.onnx");
    let options = dlbc_compiler::Options { live: vec!["attention_mask".into()], ..Default::default() };
    let compiled =
        dlbc_compiler::compile(&dlbc_proto::read_model(&model, &Default::default()).unwrap(), &options)
            .unwrap();
    let explained = compiled.program.info.inputs.iter().filter(|i| i.explained);
    let names: Vec<&str> = explained.map(|i| i.name.as_str()).collect();
    assert!(names.contains(&"attention_mask"), "{names:?}");
    let inputs = Tensors::from([
        ("input_ids".to_string(), Tensor::from_i64(&[1, 4], &[1, 20, 30, 40])),
        ("attention_mask".to_string(), Tensor::from_i64(&[1, 4], &[1, 1, 1, 0])),
    ]);
    let explanation = explain(&cpu(compiled.program, 1), &inputs, &audited());
    // What is masked has no weight, and what is not adds 0 to its score: there is relevance, and it is 0 here.
    assert_eq!(explanation.supporting.relevance["attention_mask"].dims(), [1, 4]);
    let whole = explain(&cpu(program(&model, "dlb"), 1), &inputs, &audited());
    assert!(!whole.supporting.relevance.contains_key("attention_mask"));
}
