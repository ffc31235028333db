//! The LRP family against zennit's numbers, recorded in the zoo: relevance of inputs and of layers.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;

use common::*;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Request, Start, Tensors};

/// Texts and what stands for them.
type Changes = &'static [(&'static str, &'static str)];

/// zennit's name, ours, and what is changed in its file.
const COMPOSITES: &[(&str, &str, Changes)] = &[
    ("epsilon", "lrp-epsilon", &[]),
    (
        "epsilon_0.25",
        "lrp-epsilon",
        &[(
            "rule = \"epsilon\"\nepsilon = 1e-06\n\n[[rule]]\nrole = \"pool\"",
            "rule = \"epsilon\"\nepsilon = 0.25\n\n[[rule]]\nrole = \"pool\"",
        )],
    ),
    ("zplus", "lrp-zplus", &[]),
    ("zplus_nobias", "lrp-zplus", &[("rule = \"z-plus\"", "rule = \"z-plus\"\nbias = \"ignored\"")]),
    ("gamma_0.25", "lrp-gamma", &[]),
    ("alpha2beta1", "lrp-alpha2-beta1", &[]),
    ("alpha1beta0", "lrp-alpha1-beta0", &[]),
    ("wsquare", "lrp-w2", &[]),
    ("flat", "lrp-flat", &[]),
    ("epsilon_plus", "epsilon-plus", &[]),
    ("epsilon_plus_flat", "epsilon-plus-flat", &[]),
    ("epsilon_alpha2beta1", "epsilon-alpha2-beta1", &[]),
    ("epsilon_alpha2beta1_flat", "epsilon-alpha2-beta1-flat", &[]),
    ("epsilon_gamma_box", "epsilon-gamma-box", &[]),
];

const MODELS: &[&str] = &[
    "mlp_relu",
    "mlp_nobias",
    "cnn_max",
    "cnn_max_overlap",
    "cnn_avg",
    "cnn_bn",
    "cnn_stride_group",
    "vgg",
    "vgg_bn",
    "resnet",
    "resnet_bottleneck",
];

const BOUND: f64 = 1e-3;

/// Residual sums that nearly cancel, with relevance that does not look at them: the float32 of the recording itself is off
/// by 1.5e-3 from the float64 reference.
const CANCELS: (&str, [&str; 2], f64) = ("resnet_bottleneck", ["wsquare", "flat"], 2e-3);

fn toml(name: &str, changes: Changes) -> String {
    let mut text = dlbc_compiler::source(name).unwrap().to_string();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} lacks {from:?}");
        text = text.replacen(from, to, 1);
    }
    text
}

/// Relevance at the results of the layers that both name, with the difference. The recording runs the reverse twice, and
/// what it keeps of layers adds up: it is halved here.
fn layers(golden: &Tensors, composite: &str, relevance: &Tensors) -> Vec<(String, f64)> {
    let mut found = vec![];
    for (name, wanted) in golden {
        let Some(module) = name.strip_prefix(&format!("{composite}/")).filter(|m| *m != "input") else {
            continue;
        };
        let prefix = format!("/{}/", module.replace('.', "/"));
        let own = relevance.iter().find(|(n, r)| n.starts_with(&prefix) && r.dims() == wanted.dims());
        let half: Vec<f32> = wanted.to_f32().iter().map(|v| v / 2.0).collect();
        let wanted = Tensor::from_f32(wanted.dims(), &half);
        found.extend(own.map(|(n, r)| (n.clone(), relative_l1(r, &wanted))));
    }
    found
}

#[test]
fn relevance_equals_zennits() {
    let Some(zoo) = zoo() else { return };
    let (mut inputs_compared, mut layers_compared, mut faults) = (0, 0, vec![]);
    for model in MODELS {
        let file = |suffix: &str| zoo.join("golden_lrp").join(format!("{model}{suffix}"));
        let golden = npz(&file(".zennit.npz"));
        for (theirs, ours, changes) in COMPOSITES {
            let Some(wanted) = golden.get(&format!("{theirs}/input")) else { continue };
            let bound = if *model == CANCELS.0 && CANCELS.1.contains(theirs) { CANCELS.2 } else { BOUND };
            let program = program_by(&file(".onnx"), &toml(ours, changes));
            let input = program.info.inputs[0].name.clone();
            let feed = Tensors::from([(input.clone(), golden[&format!("in/{input}")].clone())]);
            let request = Request { start: Start::Value, audit: true, keep_all: true, ..Request::default() };
            let got = explain(&cpu(program, 2), &feed, &request);
            inputs_compared += 1;
            let gap = relative_l1(&got.relevance[&input], wanted);
            if gap > bound {
                faults.push(format!("{model} {theirs} input: {gap:e}"));
            }
            for (layer, gap) in layers(&golden, theirs, &got.relevance) {
                layers_compared += 1;
                if gap > bound {
                    faults.push(format!("{model} {theirs} {layer}: {gap:e}"));
                }
            }
            let sum: f64 = got.inputs.values().sum();
            let open = (got.start - sum - got.absorbed).abs() / got.start.abs();
            if open > 1e-4 {
                faults.push(format!("{model} {theirs}: the ledger is open by {open:e}"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {inputs_compared} and {layers_compared}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(inputs_compared > 140 && layers_compared > 900, "{inputs_compared} {layers_compared}");
    println!("{inputs_compared} inputs and {layers_compared} layers equal zennit's");
}

#[test]
fn a_mistake_in_a_composite_is_named_with_its_line() {
    let good = dlbc_compiler::source("lrp-epsilon").unwrap();
    for (from, to, expected) in [
        ("rule = \"epsilon\"", "rule = \"epsilom\"", "own.toml:6: no rule is named `epsilom`"),
        ("role = \"linear\"", "role = \"linea\"", "own.toml:6: no role is named `linea`"),
        ("epsilon = 1e-06", "epsilon = -1.0", "own.toml:6: epsilon is a number from 0 on"),
        (
            "epsilon = 1e-06",
            "epsilon = 1e-06\nalpha = 1.0",
            "own.toml:6: rule `epsilon` has no parameter `alpha`",
        ),
        ("epsilon = 1e-06", "epsilo = 1e-06", "own.toml:9: unknown field `epsilo`"),
        (
            "role = \"linear\"\nrule = \"epsilon\"\nepsilon = 1e-06",
            "role = \"linear\"\nrule = \"pass\"",
            "own.toml:6: rule `pass` does not fit role `linear`",
        ),
        (
            "role = \"linear\"",
            "role = \"linear\"\nop = \"Conv\"",
            "own.toml:1: no entry gives role `linear` a rule",
        ),
        ("name = ", "name ", "own.toml:1:"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from:?}");
        let error = dlbc_compiler::Composite::parse(&text, "own.toml").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{expected:?} expected, found {error:?}");
    }
}

#[test]
fn an_entry_that_selects_nothing_is_a_warning() {
    let model = dlbc_proto::read_model(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits_cnn/model.onnx").as_path(),
        &dlbc_proto::Limits::default(),
    )
    .unwrap();
    let mut text = dlbc_compiler::source("dlb").unwrap().to_string();
    text += "\n[[rule]]\nop = \"Conv\"\nplace = \"first\"\nrule = \"flat\"\n\n[[rule]]\nscope = \"/nowhere/*\"\nrule = \"flat\"\n";
    let options = dlbc_compiler::Options {
        rules_file: Some(("own.toml".into(), text)),
        ..dlbc_compiler::Options::default()
    };
    let compiled = dlbc_compiler::compile(&model, &options).unwrap();
    assert_eq!(compiled.warnings.len(), 1, "{:?}", compiled.warnings);
    assert!(compiled.warnings[0].ends_with("the entry selects no node"), "{:?}", compiled.warnings);
    let rules: Vec<&str> = compiled.program.info.audit.iter().map(|r| r.rule.as_str()).collect();
    assert_eq!(rules.iter().filter(|r| r.starts_with("flat")).count(), 1, "{rules:?}");
}
