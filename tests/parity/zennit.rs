//! The LRP family against zennit's numbers: relevance of inputs and of layers.

use std::path::Path;

use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Request, SeedValue, Tensors};

use crate::Row;
use crate::common::*;

/// Replacements in the text of a composite file.
type Changes = &'static [(&'static str, &'static str)];

/// Name in zennit, name in dlbc, and replacements in dlbc's composite file.
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

/// Models with residual sums that nearly cancel under rules that divide by them: the recorded float32 values themselves differ
/// by 1.5e-3 from the float64 reference.
const CANCELS: (&str, [&str; 2], f64) = ("resnet_bottleneck", ["wsquare", "flat"], 2e-3);

fn toml(name: &str, changes: Changes) -> String {
    let mut text = dlbc_compiler::built_in_source(name).unwrap().to_string();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} lacks {from:?}");
        text = text.replacen(from, to, 1);
    }
    text
}

/// Compares the relevance of the layers that both systems name; returns name and relative L1 difference of each. The recording
/// ran the reverse twice, which doubled the relevance of layers, so it is halved here.
fn layers(golden: &Tensors, composite: &str, relevance: &Tensors) -> Vec<(String, f64)> {
    let mut gaps = vec![];
    for (name, expected) in golden {
        let Some(module) = name.strip_prefix(&format!("{composite}/")).filter(|m| *m != "input") else {
            continue;
        };
        let prefix = format!("/{}/", module.replace('.', "/"));
        let recorded = relevance.iter().find(|(n, r)| n.starts_with(&prefix) && r.dims() == expected.dims());
        let half: Vec<f32> = expected.to_f32().iter().map(|v| v / 2.0).collect();
        let expected = Tensor::from_f32(expected.dims(), &half);
        gaps.extend(recorded.map(|(n, r)| (n.clone(), relative_l1(r, &expected))));
    }
    gaps
}

/// Compares every model under every composite.
pub fn compare(zoo: &Path) -> Vec<Row> {
    let mut rows = vec![];
    for model in MODELS {
        let file = |suffix: &str| zoo.join("golden_lrp").join(format!("{model}{suffix}"));
        let golden = npz(&file(".zennit.npz"));
        for (theirs, ours, changes) in COMPOSITES {
            let Some(expected) = golden.get(&format!("{theirs}/input")) else { continue };
            let bound = if *model == CANCELS.0 && CANCELS.1.contains(theirs) { CANCELS.2 } else { BOUND };
            let program = program_by(&file(".onnx"), &toml(ours, changes));
            let input = program.info.inputs[0].name.clone();
            let feed = Tensors::from([(input.clone(), golden[&format!("in/{input}")].clone())]);
            let request = Request::new().seed_value(SeedValue::Value).ledger().keep_all();
            let actual = explain(&cpu(program, 2), &feed, &request);
            let layers = layers(&golden, theirs, &actual.supporting.relevance);
            let worst = layers.iter().map(|(_, gap)| *gap).fold(0.0, f64::max);
            let sum: f64 = actual.supporting.input_sums.values().sum();
            rows.push(Row {
                system: "zennit 0.5.1",
                model,
                theirs,
                ours,
                input: relative_l1(&actual.supporting.relevance[&input], expected),
                layers: (layers.len(), worst),
                open: (actual.supporting.seed_sum - sum - actual.supporting.absorbed).abs()
                    / actual.supporting.seed_sum.abs(),
                bound,
            });
        }
    }
    rows
}
