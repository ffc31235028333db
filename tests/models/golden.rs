//! Relevance that other systems recorded, and Shapley values.

use crate::common::*;
use dlbc_compiler::{Options, compile};
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Request, SeedValue, Target, Tensors};

/// The models on which the closed forms of version 2 and the seed system agree.
const PARITY: &[&str] = &[
    "linear",
    "mlp_relu",
    "mlp_relu_batch2",
    "mlp_nobias",
    "mlp_tanh",
    "mlp_sigmoid",
    "mlp_silu",
    "mlp_gelu",
    "mlp_softmax",
    "mlp_one_output",
    "mlp_bn",
    "mlp_layernorm",
    "mlp_residual",
    "mlp_gate",
    "conv_plain",
    "conv_nobias",
    "conv_relu_pad",
    "conv_stride",
];

#[test]
fn dlb_v2_equals_the_recorded_relevance() {
    let Some(zoo) = zoo() else { return };
    for name in PARITY {
        let golden = npz(&zoo.join(format!("golden_dlb/{name}.npz")));
        let program = program(&zoo.join(format!("golden_dlb/{name}.onnx")), "dlb-v2");
        let inputs = golden
            .iter()
            .filter_map(|(n, t)| Some((n.strip_prefix("in/")?.to_string(), t.clone())))
            .collect();
        let actual = explain(&cpu(program, 2), &inputs, &Request::new().target(Target::Argmax));
        let mut compared = 0;
        for (input, expected) in golden.iter().filter_map(|(n, t)| Some((n.strip_prefix("input_rel/")?, t))) {
            let gap = relative_l1(&actual.supporting.relevance[input], expected);
            assert!(gap <= 1e-4, "{name}, input {input}: relative L1 {gap:e}");
            compared += 1;
        }
        assert!(compared > 0, "{name}: the golden has no input relevance");
    }
}

/// The tables, each with the tensor that holds its scores.
const TABLES: [(&str, &str); 3] =
    [("breast_cancer", "add_result2"), ("wine", "add_result1"), ("diabetes", "variable")];

/// Composites under which a scaler's constants are a reference.
const SIGNED: [&str; 9] = [
    "lrp-epsilon",
    "lrp-gamma",
    "lrp-alpha2-beta1",
    "epsilon-plus",
    "epsilon-alpha2-beta1",
    "epsilon-gamma-box",
    "attnlrp",
    "cp-lrp",
    "integrated-gradients",
];

fn table(file: &str, output: &str, rules: &str) -> Program {
    let path = root().join(format!("fixtures/tables/{file}.onnx"));
    let model = dlbc_proto::read_model(&path, &dlbc_proto::Limits::default()).unwrap();
    let options = Options { rules: rules.into(), output: Some(output.into()), ..Options::default() };
    compile(&model, &options).unwrap().program
}

/// Relevance of every row for one unit, starting from its value.
fn scores(program: Program, rows: &Tensor, unit: usize) -> Tensor {
    let inputs = Tensors::from([("X".to_string(), rows.clone())]);
    let request = Request::new().target(Target::Index(unit as i64)).seed_value(SeedValue::Value);
    explain(&cpu(program, 1), &inputs, &request).supporting.relevance["X"].clone()
}

/// Spearman's rank correlation.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let below = |v: &f64| values.iter().filter(|w| *w < v).count() as f64;
        let equal = |v: &f64| values.iter().filter(|w| *w == v).count() as f64;
        values.iter().map(|v| below(v) + (equal(v) - 1.0) / 2.0).collect()
    };
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// Shapley values against the mean of the training rows, recorded in `fixtures/tables`.
#[test]
fn relevance_of_tables_has_the_ranks_of_shapley_values() {
    for (name, output) in &TABLES[..2] {
        let golden = npz(&root().join(format!("fixtures/tables/{name}.npz")));
        let (rows, shapley) = (&golden["X"], &golden["shapley_mean"]);
        let [count, units, features] = *shapley.dims() else { panic!("{:?}", shapley.dims()) };
        let shapley = shapley.to_f64();
        for rules in ["lrp-epsilon", "attnlrp", "integrated-gradients"] {
            let mut sum = 0.0;
            // The network of two classes has one score, that of the second.
            let explained = if units == 2 { vec![(0, 1)] } else { (0..units).map(|u| (u, u)).collect() };
            for (unit, class) in &explained {
                let relevance = scores(table(name, output, rules), rows, *unit).to_f64();
                for row in 0..count {
                    let values = &shapley[(row * units + class) * features..][..features];
                    sum += rank_correlation(&relevance[row * features..][..features], values);
                }
            }
            let mean = sum / (count * explained.len()) as f64;
            assert!(mean >= 0.9, "{name}, {rules}: rank correlation {mean}");
            println!("{name} {rules} {mean:.3}");
        }
    }
}

/// The relevance of a feature is that of its standardised value, also where the raw value is 0.
#[test]
fn a_scaler_in_the_graph_changes_no_relevance() {
    for (name, output) in TABLES {
        let golden = npz(&root().join(format!("fixtures/tables/{name}.npz")));
        let (width, mut raw) = (golden["mean"].elems(), golden["X"].to_f32());
        raw[..3].fill(0.0);
        let raw = Tensor::from_f32(&[raw.len() / width, width], &raw);
        let standard = standardised(name, &raw);
        for rules in SIGNED {
            let within = scores(table(name, output, rules), &raw, 0);
            let without = scores(table(&format!("{name}_bare"), output, rules), &standard, 0);
            let gap = relative_l1(&within, &without);
            assert!(gap < 1e-5, "{name}, {rules}: relative L1 {gap:e}");
        }
    }
}

/// Returns rows as the scaler of a table gives them; the regression's output has the other name.
fn standardised(name: &str, rows: &Tensor) -> Tensor {
    let tensor = if name == "diabetes" { "variable1" } else { "variable" };
    let session = cpu(table(name, tensor, "gradient"), 1);
    session.predict(&Tensors::from([("X".to_string(), rows.clone())])).unwrap()[tensor].clone()
}

/// With default settings, the two features that are largest by magnitude have the sign of what occlusion says: what the score
/// loses when the feature becomes its training mean.
#[test]
fn relevance_of_tables_has_the_signs_of_occlusion() {
    for rules in ["lrp-epsilon", "integrated-gradients"] {
        let (mut agree, mut judged) = (0, 0);
        for (name, output) in TABLES {
            let golden = npz(&root().join(format!("fixtures/tables/{name}.npz")));
            let (x, mean) = (golden["X"].to_f32(), golden["mean"].to_f32());
            let width = mean.len();
            let forward = cpu(table(name, output, "gradient"), 1);
            let feed = |rows: &[f32]| {
                Tensors::from([("X".to_string(), Tensor::from_f32(&[rows.len() / width, width], rows))])
            };
            // Scores by class: of two classes -z and z.
            let class_scores = |rows: &[f32]| -> Vec<Vec<f64>> {
                let scores = forward.predict(&feed(rows)).unwrap()[output].clone();
                let units = scores.elems() / (rows.len() / width);
                let classes =
                    |z: &[f64]| if name == "breast_cancer" { vec![-z[0], z[0]] } else { z.to_vec() };
                scores.to_f64().chunks(units).map(classes).collect()
            };
            let explainer = cpu(program(&root().join(format!("fixtures/tables/{name}.onnx")), rules), 1);
            let before = class_scores(&x);
            let classes = before[0].len();
            let single = (0..classes).map(|c| (Target::Index(c as i64), c, None));
            let pair = (classes > 1).then_some((Target::Difference(0, 1), 0, Some(1)));
            for (target, class, rival) in single.chain(pair) {
                let quantity = |scores: &[f64]| scores[class] - rival.map_or(0.0, |r: usize| scores[r]);
                let request = Request::new().target(target);
                let explained = explain(&explainer, &feed(&x), &request).supporting.relevance["X"].to_f64();
                for (row, relevance) in explained.chunks(width).enumerate() {
                    let mut order: Vec<usize> = (0..width).collect();
                    order.sort_by(|a, b| relevance[*b].abs().total_cmp(&relevance[*a].abs()));
                    for feature in &order[..2] {
                        let mut changed = x[row * width..][..width].to_vec();
                        changed[*feature] = mean[*feature];
                        let loss = quantity(&before[row]) - quantity(&class_scores(&changed)[0]);
                        judged += 1;
                        agree += usize::from(relevance[*feature] * loss > 0.0);
                    }
                }
            }
        }
        let share = f64::from(agree as u32) / f64::from(judged);
        assert!(judged == 480 && share >= 0.93, "{rules}: {share} of {judged}");
        println!("{rules} {share:.3} of {judged}");
    }
}
