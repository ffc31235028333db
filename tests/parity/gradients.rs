//! Gradients against torch's, AttnLRP and CP-LRP against LXT's numbers.

use std::path::{Path, PathBuf};

use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Position, Request, SeedValue, Target, Tensors};

use crate::Row;
use crate::common::*;

/// Models with recorded gradients: classifiers, language models, mixtures of experts, a detector and segmenters.
const GRADIENTS: &[&str] = &[
    "mlp",
    "mlp_bn_softmax",
    "vgg",
    "vgg_bn",
    "resnet",
    "densenet",
    "efficientnet",
    "mobilenet_v2",
    "mobilenet_v3",
    "convnext",
    "vit",
    "bert",
    "albert",
    "roberta",
    "distilbert",
    "electra",
    "xlnet",
    "llama",
    "gpt2",
    "qwen3",
    "t5",
    "lstm",
    "lstm_bi2",
    "gru",
    "gru_bi",
    "textcnn",
    "olmoe_patched",
    "qwen3_moe_patched",
    "jetmoe_patched",
    "gpt_oss_patched",
    "det_yolo",
    "unet",
    "unet_bilinear",
];

const LXT: &[&str] = &["bert", "bert_sdpa", "llama", "llama_sdpa", "qwen3", "gpt2"];

fn file(zoo: &Path, model: &str, suffix: &str) -> PathBuf {
    zoo.join("golden_lrp").join(format!("{model}{suffix}"))
}

/// Explains the recorded target.
fn run(model: &Path, golden: &Tensors, rules: &str, start: SeedValue) -> Explanation {
    let program = program(model, rules);
    let feed: Tensors = program
        .info
        .inputs
        .iter()
        .filter_map(|i| Some((i.name.clone(), golden.get(&format!("in/{}", i.name))?.clone())))
        .collect();
    let (target, position) = target(golden);
    let request = Request::new()
        .target(target)
        .position(position)
        .seed_value(start)
        .multiplier(1.0)
        .keep_all()
        .ledger();
    explain(&cpu(program, 2), &feed, &request)
}

/// Returns the recorded target: a unit at the last position, or the largest element of a dense output, recorded by its flat index.
fn target(golden: &Tensors) -> (Target, Position) {
    let (unit, last) = (golden["target"].to_i64()[0], Position::At(-1));
    let Some(out) = golden.get("out") else { return (Target::Index(unit), last) };
    match out.dims() {
        [_, _, units] if unit >= *units as i64 => {
            let units = *units as i64;
            (Target::Index(unit % units), Position::At(unit / units))
        }
        [_, _, _, _] => {
            let mut values = out.to_f64();
            values.sort_by(f64::total_cmp);
            // A bound between the two largest elements, so that only the largest is above it.
            let [.., second, first] = values.as_slice() else { panic!("an output of one element") };
            (Target::Above((first + second) / 2.0), last)
        }
        _ => (Target::Index(unit), last),
    }
}

/// Returns name and relevance of the recorded tensor: an input, or the result of the word embedding.
fn recorded_tensor<'a>(
    relevance: &'a Tensors,
    what: &str,
    expected: &Tensor,
) -> Option<(&'a String, &'a Tensor)> {
    if what != "embedding" {
        return relevance.get_key_value(what);
    }
    let like = |(name, r): &(&String, &Tensor)| {
        name.ends_with("Gather_output_0") && r.elems() == expected.elems() && !name.contains("position")
    };
    let all = || relevance.iter().filter(like);
    all().find(|(n, _)| n.contains("word_embedding")).or_else(|| all().next())
}

fn gap(actual: &Tensor, expected: &Tensor) -> f64 {
    relative_l1(&Tensor::from_f32(expected.dims(), &actual.to_f32()), expected)
}

fn row(
    system: &'static str,
    model: &'static str,
    theirs: &'static str,
    ours: &'static str,
    actual: &Explanation,
    (input, bound): (f64, f64),
) -> Row {
    let sum: f64 = actual.supporting.input_sums.values().sum();
    let open = (actual.supporting.seed_sum - sum - actual.supporting.absorbed).abs()
        / actual.supporting.seed_sum.abs();
    Row { system, model, theirs, ours, input, layers: (0, 0.0), open, bound }
}

/// Derivatives, and derivatives times input.
pub fn torch(zoo: &Path) -> Vec<Row> {
    let mut rows = vec![];
    for model in GRADIENTS {
        let golden = npz(&file(zoo, model, ".grad.npz"));
        for (ours, prefix, start) in
            [("gradient", "grad/", SeedValue::One), ("grad-x-input", "gxi/", SeedValue::Value)]
        {
            let actual = run(&file(zoo, model, ".onnx"), &golden, ours, start);
            let mut worst: f64 = 0.0;
            for (name, expected) in &golden {
                let Some(what) = name.strip_prefix(prefix) else { continue };
                let (_, r) = recorded_tensor(&actual.supporting.relevance, what, expected)
                    .unwrap_or_else(|| panic!("{model}: no {what}"));
                worst = worst.max(gap(r, expected));
            }
            rows.push(row(
                "torch autograd",
                model,
                prefix.trim_end_matches('/'),
                ours,
                &actual,
                (worst, 1e-4),
            ));
        }
    }
    rows
}

/// Names of the explained tensors: the embedding and its tokens, or the picture for ViT.
pub fn lxt(zoo: &Path) -> Vec<Row> {
    let mut rows = vec![];
    for model in LXT {
        let golden = npz(&file(zoo, model, ".lxt.npz"));
        let actual = run(&file(zoo, model, ".onnx"), &golden, "attnlrp", SeedValue::Value);
        let expected = &golden["attnlrp/embedding"];
        let (_, r) = recorded_tensor(&actual.supporting.relevance, "embedding", expected).unwrap();
        let tokens = gap(&actual.supporting.relevance["input_ids"], &golden["attnlrp/token"]);
        rows.push(row("LXT 2.1", model, "AttnLRP", "attnlrp", &actual, (gap(r, expected).max(tokens), 1e-3)));
    }
    let golden = npz(&file(zoo, "vit", ".lxt.npz"));
    let actual = run(&file(zoo, "vit", ".onnx"), &golden, "cp-lrp", SeedValue::Value);
    let gap = gap(&actual.supporting.relevance["input"], &golden["attnlrp/input"]);
    rows.push(row("LXT 2.1", "vit", "CP-LRP", "cp-lrp", &actual, (gap, 1e-3)));
    rows
}
