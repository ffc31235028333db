//! Several targets in one run against one run for each; relevance that starts inside a model.

use std::path::PathBuf;

use crate::common::*;
use dlbc_compiler::{CompileError, Options, compile as compiled};
use dlbc_ops::program::Program;
use dlbc_runtime::{Request, SeedValue, Target, Tensor, Tensors};

const TARGETS: [Target; 4] = [Target::Index(0), Target::Rank(1), Target::Difference(0, 1), Target::All];

/// Targets of an output with one unit.
const ALONE: [Target; 4] = [Target::Argmax, Target::Rank(0), Target::Index(0), Target::All];

/// Bound of the relative L1 difference for a different order of sums.
const CLOSE: f64 = 1e-6;

/// The same bound for signed shares, whose sums cancel.
const CLOSE_SIGNED: f64 = 5e-6;

fn fixtures() -> Vec<(String, PathBuf, Tensors)> {
    let folder = root().join("fixtures");
    let mut models = vec![];
    for name in ["digits_cnn", "tabular_mlp"] {
        let inputs = npz(&folder.join(name).join("input.npz"));
        models.push((name.to_string(), folder.join(name).join("model.onnx"), inputs));
    }
    for name in ["mlp_bn_softmax", "mlp_mixed", "resnet_bottleneck", "textcnn"] {
        let file = |suffix: &str| folder.join("tiny").join(format!("{name}.{suffix}"));
        models.push((name.to_string(), file("onnx"), npz(&file("npz"))));
    }
    // Two rows of eight tokens; the last two of the second row are masked.
    let (ids, mask) = ((0..16).map(|i| 5 + i * 37 % 90), (0..16).map(|i| i64::from(i < 14)));
    let ids = Tensor::from_i64(&[2, 8], &ids.collect::<Vec<_>>());
    let mask = Tensor::from_i64(&[2, 8], &mask.collect::<Vec<_>>());
    let types = Tensor::from_i64(&[2, 8], &[0; 16]);
    let names = ["input_ids", "attention_mask", "token_type_ids"].map(String::from);
    let tokens: Tensors = names.into_iter().zip([ids, mask, types]).collect();
    for name in ["sentiment_bert", "sentiment_lstm"] {
        models.push((name.to_string(), folder.join(name).join("model.onnx"), tokens.clone()));
    }
    models
}

/// Explains targets together and one by one on the CPU; returns the differences beyond the bounds.
fn compare(name: &str, model: &std::path::Path, rules: &str, arrays: &Tensors) -> Vec<String> {
    let program = program(model, rules);
    let inputs = inputs_of(&program, arrays);
    let start = if rules == "grad-x-input" { SeedValue::Value } else { SeedValue::One };
    let request = Request::new().ledger().keep_all().seed_value(start);
    let session = cpu(program, 2);
    let explained = &session.predict(&inputs).unwrap()[&session.program().info.explained];
    let targets = if explained.dims().last() == Some(&1) { ALONE } else { TARGETS };
    let together = session.explain_targets(&inputs, &targets, &request);
    let together = together.unwrap_or_else(|e| panic!("{name} {rules}: {e}"));
    let close = if rules.starts_with("dlb") { CLOSE } else { CLOSE_SIGNED };
    let mut faults = vec![];
    for (target, explanation) in targets.iter().zip(&together) {
        let separate = explain(&session, &inputs, &request.clone().target(*target));
        let title = format!("{name} {rules} {target:?}");
        assert_eq!(
            (&explanation.targets, explanation.supporting.seed_sum),
            (&separate.targets, separate.supporting.seed_sum),
            "{title}"
        );
        assert_eq!(explanation.outputs, separate.outputs, "{title}");
        assert_eq!(explanation.supporting.relevance.len(), separate.supporting.relevance.len(), "{title}");
        let largest = separate.supporting.relevance.values().map(size).fold(0.0, f64::max);
        for (tensor, expected) in &separate.supporting.relevance {
            // Sums that cancel are measured by their terms: relevance of several units by that of a single one, and sums that
            // a normalisation makes 0 by a hundredth of the largest tensor's.
            let single = size(&together[0].supporting.relevance[tensor]);
            let full = size(expected);
            let gap = relative_l1(&explanation.supporting.relevance[tensor], expected) * full
                / full.max(single).max(1e-2 * largest).max(f64::MIN_POSITIVE);
            if gap > close || gap.is_nan() {
                faults.push(format!("{title} {tensor}: {gap:e}"));
            }
        }
        for (a, b) in
            explanation.supporting.ledger.iter().flatten().zip(separate.supporting.ledger.iter().flatten())
        {
            let size = b
                .received
                .abs()
                .max(b.passed.abs())
                .max(b.absorbed.abs())
                .max(together[0].supporting.seed_sum.abs());
            let gap = (a.passed - b.passed).abs().max((a.absorbed - b.absorbed).abs());
            if gap > 1e-4 * size {
                faults.push(format!("{title} ledger: {a:?}, {b:?}"));
            }
        }
    }
    faults
}

fn size(t: &Tensor) -> f64 {
    t.to_f64().iter().map(|v| v.abs()).sum()
}

fn report(faults: Vec<String>) {
    let shown: Vec<&String> = faults.iter().take(40).collect();
    assert!(faults.is_empty(), "{} differences:\n{shown:#?}", faults.len());
}

#[test]
fn on_every_fixture_under_every_composite() {
    let mut faults = vec![];
    for (name, model, inputs) in &fixtures() {
        for rules in one_run() {
            faults.extend(compare(name, model, rules, inputs));
        }
    }
    report(faults);
}

#[test]
fn on_every_zoo_model_under_a_composite_each() {
    if zoo().is_none() {
        return;
    }
    let rules: Vec<&str> = one_run().collect();
    let mut faults = vec![];
    for (i, m) in zoo_models(&[VISION_AND_TABULAR, SEQUENCE].concat()).iter().enumerate() {
        let composite = rules[i % rules.len()];
        for rules in if composite == "dlb" { vec!["dlb"] } else { vec!["dlb", composite] } {
            faults.extend(compare(&m.name, &m.model, rules, &npz(&m.inputs)));
        }
    }
    report(faults);
}

/// The program of a model that is explained from a tensor.
fn from_tensor(model: &std::path::Path, tensor: &str) -> Result<Program, CompileError> {
    let read = dlbc_proto::read_model(model, &Default::default()).unwrap();
    let options = Options { output: Some(tensor.into()), ..Options::default() };
    Ok(compiled(&read, &options)?.program)
}

#[test]
fn relevance_that_stops_inside_a_model_goes_on_from_there() {
    let model = root().join("fixtures/digits_cnn/model.onnx");
    let inputs = npz(&root().join("fixtures/digits_cnn/input.npz"));
    let request = Request::new().target(Target::Index(3)).keep(["flat.out"]);
    let whole = explain(&cpu(program(&model, "dlb"), 2), &inputs, &request);
    // All relevance goes through the 128 units before the last layer: it is the sum over what each of them gives.
    let inside = cpu(from_tensor(&model, "flat.out").unwrap(), 2);
    let units: Vec<Target> = (0..128).map(Target::Index).collect();
    let parts = inside.explain_targets(&inputs, &units, &Request::new().multiplier(1.0)).unwrap();
    let through = whole.supporting.relevance["flat.out"].to_f64();
    let mut sum = vec![0.0; 8 * 64];
    for (unit, part) in parts.iter().enumerate() {
        for (i, r) in part.supporting.relevance["input"].to_f64().iter().enumerate() {
            sum[i] += through[i / 64 * 128 + unit] * r;
        }
    }
    let expected = whole.supporting.relevance["input"].to_f64();
    let gap: f64 = sum.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum();
    assert!(gap <= 1e-6 * expected.iter().sum::<f64>(), "{gap}");
    assert_eq!(parts[0].outputs["flat.out"].dims(), [8, 128]);
    assert_eq!(parts[0].outputs["logits"], whole.outputs["logits"]);
}

#[test]
fn a_tensor_that_a_pass_would_remove_is_explained() {
    let model = root().join("fixtures/sentiment_bert/model.onnx");
    let (_, _, tokens) = fixtures().into_iter().find(|(name, ..)| name == "sentiment_bert").unwrap();
    // Within an attention and a GELU, which are recovered otherwise.
    for tensor in [
        "/m/bert/encoder/layer.1/attention/self/Softmax_output_0",
        "/m/bert/encoder/layer.1/intermediate/intermediate_act_fn/Erf_output_0",
    ] {
        let session = cpu(from_tensor(&model, tensor).unwrap(), 2);
        let inputs = inputs_of(session.program(), &tokens);
        let request = Request::new().target(Target::All).ledger();
        let explanation = explain(&session, &inputs, &request);
        assert_eq!(explanation.supporting.seed_sum.round(), 200.0, "{tensor}");
        for row in explanation.supporting.ledger.as_ref().unwrap() {
            assert!(row.residual().abs() <= 1e-4 * explanation.supporting.seed_sum, "{tensor}: {row:?}");
        }
        let arrived: f64 = explanation.supporting.input_sums.values().sum();
        assert!(
            arrived > 1.0
                && (explanation.supporting.seed_sum - arrived - explanation.supporting.absorbed).abs() < 1e-2,
            "{tensor}: {arrived}"
        );
    }
}

#[test]
fn tensors_inside_every_zoo_model_are_explained() {
    if zoo().is_none() {
        return;
    }
    let (mut explained, mut seen) = (0, std::collections::BTreeSet::new());
    for m in zoo_models(&[VISION_AND_TABULAR, SEQUENCE].concat()) {
        // One folder of each export.
        if !seen.insert(m.name.split('/').next_back().unwrap().to_string()) {
            continue;
        }
        let read = dlbc_proto::read_model(&m.model, &Default::default()).unwrap();
        let nodes = &read.graph().node;
        for part in [nodes.len() / 3, nodes.len() * 2 / 3] {
            let tensor = nodes[part].output[0].as_str();
            let session = match from_tensor(&m.model, tensor) {
                Ok(program) => cpu(program, 2),
                // A shape, a mask or a weight.
                Err(CompileError::NothingToExplain(_)) => continue,
                Err(e) => panic!("{} {tensor}: {e}", m.name),
            };
            let inputs = inputs_of(session.program(), &npz(&m.inputs));
            let request = Request::new().target(Target::All).ledger();
            let explanation = explain(&session, &inputs, &request);
            for row in explanation.supporting.ledger.as_ref().unwrap() {
                assert!(
                    row.residual().abs() <= 1e-4 * explanation.supporting.seed_sum,
                    "{} {tensor}: {row:?}",
                    m.name
                );
            }
            explained += 1;
        }
    }
    assert!(explained > 40, "{explained}");
    println!("{explained} tensors");
}

/// Counts the features that have the sign of what their removal takes from the target, among the two with the largest
/// relevance of each row: how many do, of how many. `remove` gives the inputs without a feature; scores are the values
/// of `scores`.
fn agreement(
    session: &dlbc_runtime::Session,
    scores: &dlbc_runtime::Session,
    targets: &[Target],
    inputs: &Tensors,
    input: &str,
    remove: &dyn Fn(usize) -> Tensors,
) -> (usize, usize) {
    let output = |inputs: &Tensors| {
        let explained = &scores.program().info.explained;
        let values = scores.predict(inputs).unwrap()[explained].to_f64();
        // The one unit of two classes.
        let pair = explained == "add_result2";
        if pair { values.iter().flat_map(|z| [-z, *z]).collect() } else { values }
    };
    let whole = output(inputs);
    let (rows, features) = (inputs[input].dims()[0], inputs[input].dims()[1]);
    let without: Vec<Vec<f64>> = (0..features).map(|feature| output(&remove(feature))).collect();
    let units = whole.len() / rows;
    let asked = |values: &[f64], row: usize, target: Target| match target {
        Target::Index(unit) => values[row * units + unit as usize],
        Target::Difference(a, b) => values[row * units + a as usize] - values[row * units + b as usize],
        _ => panic!("{target:?}"),
    };
    let (mut right, mut all) = (0, 0);
    for (target, explained) in
        targets.iter().zip(session.explain_targets(inputs, targets, &Request::default()).unwrap())
    {
        let relevance = explained.supporting.relevance[input].to_f64();
        for row in 0..rows {
            let row_relevance = &relevance[row * features..][..features];
            let mut order: Vec<usize> = (0..features).collect();
            order.sort_by(|a, b| row_relevance[*b].abs().total_cmp(&row_relevance[*a].abs()));
            for feature in order.into_iter().take(2) {
                let taken = asked(&whole, row, *target) - asked(&without[feature], row, *target);
                right += usize::from(taken * row_relevance[feature] > 0.0);
                all += 1;
            }
        }
    }
    (right, all)
}

#[test]
fn positive_relevance_of_a_table_speaks_for_the_target() {
    use Target::{Difference, Index};
    let cases: [(&str, &[Target]); 3] = [
        ("diabetes_bare", &[Index(0)]),
        ("wine_bare", &[Index(0), Index(1), Index(2), Difference(0, 1), Difference(2, 0)]),
        ("breast_cancer_bare", &[Index(0), Index(1), Difference(0, 1)]),
    ];
    let mut faults = vec![];
    for (name, targets) in cases {
        let path = root().join(format!("fixtures/tables/{name}.onnx"));
        let rows = npz(&root().join(format!("fixtures/tables/{}.npz", name.trim_end_matches("_bare"))));
        let rows = &rows["standardised"];
        let input = |tensor: Tensor| Tensors::from([("X".to_string(), tensor)]);
        let remove = |feature: usize| {
            let mut values = rows.to_f32();
            values.iter_mut().skip(feature).step_by(rows.dims()[1]).for_each(|v| *v = 0.0);
            input(Tensor::from_f32(rows.dims(), &values))
        };
        // Derivatives start from the probability; the others at the logit.
        for rules in ["lrp-epsilon", "lrp-gamma", "epsilon-plus", "attnlrp", "cp-lrp"] {
            let program = program(&path, rules);
            let behind = program.info.seed.activation.as_ref().map(|b| b.tensor.clone());
            let scores = match behind {
                Some(tensor) => cpu(from_tensor(&path, tensor.trim_end_matches(".classes")).unwrap(), 1),
                None => cpu(program.clone(), 1),
            };
            let (right, all) =
                agreement(&cpu(program, 1), &scores, targets, &input(rows.clone()), "X", &remove);
            if (right as f64) < 0.93 * all as f64 {
                faults.push(format!("{name} {rules}: {right} of {all}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn positive_relevance_of_a_text_speaks_for_the_target() {
    let model = root().join("fixtures/sentiment_bert/model.onnx");
    let tokens = crate::common::command::json(&[&[
        "run",
        "fixtures/sentiment_bert/model.onnx",
        "--text",
        "A waste of two hours.",
    ]]);
    let tokens = tokens["tokens"][0].as_array().unwrap();
    let ids: Vec<i64> = tokens.iter().map(|t| t["id"].as_i64().unwrap()).collect();
    let waste = tokens.iter().position(|t| t["token"] == "waste").unwrap();
    let dims = [1, ids.len()];
    let model_inputs = |ids: &[i64]| {
        let values = [ids.to_vec(), vec![1; ids.len()], vec![0; ids.len()]];
        let names = ["input_ids", "attention_mask", "token_type_ids"].map(String::from);
        names.into_iter().zip(values.map(|v| Tensor::from_i64(&dims, &v))).collect::<Tensors>()
    };
    for rules in ["attnlrp", "cp-lrp"] {
        let session = cpu(program(&model, rules), 1);
        let inputs = inputs_of(session.program(), &model_inputs(&ids));
        let without = |feature: usize| {
            let mut ids = ids.clone();
            ids[feature] = 0;
            inputs_of(session.program(), &model_inputs(&ids))
        };
        let targets =
            [Target::Index(0), Target::Index(1), Target::Difference(0, 1), Target::Difference(1, 0)];
        let (right, all) = agreement(&session, &session, &targets, &inputs, "input_ids", &without);
        assert_eq!(right, all, "{rules}");
        for (target, against) in targets.into_iter().zip([false, true, false, true]) {
            let explanation = explain(&session, &inputs, &Request::new().target(target));
            let of_waste = explanation.supporting.relevance["input_ids"].to_f64()[waste];
            assert_eq!(of_waste < 0.0, against, "{rules} {target:?}: {of_waste}");
        }
    }
}

#[test]
fn the_sign_follows_the_rules_and_not_the_name_of_a_composite() {
    use dlbc_ops::program::SeedSign;
    let model = root().join("fixtures/digits_cnn/model.onnx");
    let with = |base: &str, entry: &str| {
        let text = format!("{}\n{entry}", dlbc_compiler::built_in_source(base).unwrap());
        crate::common::program_by(&model, &text).info.seed.sign
    };
    let last = |rule: &str| format!("[[rule]]\nrole = \"linear\"\nplace = \"last\"\nrule = \"{rule}\"\n");
    assert_eq!(with("lrp-epsilon", ""), SeedSign::Value);
    assert_eq!(with("lrp-epsilon", &last("z-plus")), SeedSign::Positive);
    assert_eq!(with("dlb", ""), SeedSign::Positive);
    assert_eq!(with("dlb", &last("epsilon")), SeedSign::Value);
    assert_eq!(with("gradient", ""), SeedSign::Unit);
}

#[test]
fn two_classes_of_one_unit_keep_their_probabilities() {
    let path = root().join("fixtures/tables/breast_cancer_bare.onnx");
    let rows = npz(&root().join("fixtures/tables/breast_cancer.npz"));
    let session = cpu(program(&path, "dlb"), 1);
    let inputs = Tensors::from([("X".to_string(), rows["standardised"].clone())]);
    let probabilities = session.predict(&inputs).unwrap()["probabilities"].to_f64();
    let scores = rows["scores"].to_f64();
    assert_eq!(probabilities.len(), scores.len());
    for (p, score) in probabilities.iter().zip(&scores) {
        let expected = 1.0 / (1.0 + (-score).exp());
        assert!((p - expected).abs() < 1e-6, "{p}, expected {expected}");
    }
    // The classes share no map: not even magnitudes cancel.
    let probabilities = explain(&session, &inputs, &Request::new().target(Target::Difference(0, 1)));
    assert!(size(&probabilities.supporting.relevance["X"]) > 100.0);
}

/// ONNX Runtime's Sigmoid is 0 where the file's classes are as sure as this; relevance passes it all the same, from its logit.
#[test]
fn an_exported_difference_of_sure_classes_starts_at_their_logits() {
    use dlbc_artifact::{ExportOptions, ExportTarget, export};
    let rows = npz(&root().join("fixtures/tables/breast_cancer.npz"))["X"].clone();
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in.npz");
    let array = ndarray::Array2::from_shape_vec((rows.dims()[0], rows.dims()[1]), rows.to_f32().to_vec());
    let mut writer = ndarray_npy::NpzWriter::new(std::fs::File::create(&inputs).unwrap());
    writer.add_array("X", &array.unwrap()).unwrap();
    writer.finish().unwrap();
    let rows = Tensors::from([("X".to_string(), rows)]);
    let (mut jobs, mut expected) = (vec![], vec![]);
    for rules in ["attnlrp", "cp-lrp", "lrp-epsilon"] {
        let program = program(&root().join("fixtures/tables/breast_cancer.onnx"), rules);
        let path = folder.path().join(format!("{rules}.onnx"));
        let target = Some(ExportTarget::Difference(0, 1));
        let options = ExportOptions { target, ..Default::default() };
        dlbc_proto::write_model(&path, &export(&program, &options).unwrap()).unwrap();
        let request = Request::new().target(Target::Difference(0, 1));
        expected.push((rules, explain(&cpu(program, 1), &rows, &request)));
        jobs.push((path, inputs.clone()));
    }
    let Some(results) = onnx_runtime(&jobs) else { return };
    for (results, (rules, expected)) in results.iter().zip(&expected) {
        assert!(results["probabilities"].to_f64().contains(&0.0), "no row is that sure");
        let gap = relative_l1(&results["relevance/X"], &expected.supporting.relevance["X"]);
        assert!(gap <= 1e-4, "{rules}: {gap:e}");
    }
}
