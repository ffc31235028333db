//! The models of the zoo, vision, tabular and transformers: forward against ONNX Runtime, relevance against the float64 reference, the
//! ledger, batches, threads.

use crate::common::*;
use dlbc_runtime::Target;

const FORWARD: f64 = 1e-4;
const ELEMENT: f64 = 1e-4;
const LEDGER: f64 = 1e-4;

#[test]
fn forward_equals_onnx_runtime() {
    let models = zoo_models_or_skip();
    for m in &models {
        let program = program(&m.model, "dlb");
        let inputs = inputs_of(&program, &npz(&m.inputs));
        let request = request(&program, Target::Argmax);
        let actual = explain(&cpu(program, 2), &inputs, &request);
        for (name, expected) in npz(&m.outputs) {
            let gap = relative_l1(&actual.outputs[&name], &expected);
            assert!(gap <= FORWARD, "{} output {name}: relative L1 {gap:e}", m.name);
        }
    }
    println!("{} models agree with ONNX Runtime's recorded outputs", models.len());
}

#[test]
fn forward_equals_onnx_runtime_on_the_second_input() {
    let models = zoo_models_or_skip();
    let jobs: Vec<_> = models.iter().map(|m| (m.model.clone(), m.alt.clone())).collect();
    let Some(expected) = (!jobs.is_empty()).then(|| onnx_runtime(&jobs)).flatten() else { return };
    for (m, expected) in models.iter().zip(expected) {
        let program = program(&m.model, "dlb");
        let inputs = inputs_of(&program, &npz(&m.alt));
        let request = request(&program, Target::Argmax);
        let actual = explain(&cpu(program, 2), &inputs, &request);
        for (name, expected) in expected {
            let gap = relative_l1(&actual.outputs[&name], &expected);
            assert!(gap <= FORWARD, "{} output {name}: relative L1 {gap:e}", m.name);
        }
    }
    println!("{} models agree with ONNX Runtime on inputs of another shape", models.len());
}

#[test]
fn relevance_equals_the_reference_and_the_ledger_closes() {
    for rules in ["dlb", "dlb-v2"] {
        for m in &zoo_models_or_skip() {
            for arrays in [&m.inputs, &m.alt] {
                let program = program(&m.model, rules);
                let inputs = inputs_of(&program, &npz(arrays));
                // The same units on both: a near tie may fall differently in float32 and float64.
                let request = request(&program, Target::Index(0)).ledger();
                let expected = explain(&reference(program.clone()), &inputs, &request);
                let actual = explain(&cpu(program, 2), &inputs, &request);
                for (name, expected) in &expected.supporting.relevance {
                    let gap = worst_element(&actual.supporting.relevance[name], expected);
                    assert!(gap <= ELEMENT, "{} {rules} relevance of {name}: {gap:e} of the sum", m.name);
                }
                for (what, e) in [("cpu", &actual), ("reference", &expected)] {
                    let inputs: f64 = e.supporting.input_sums.values().sum();
                    let open = (e.supporting.seed_sum - inputs - e.supporting.absorbed).abs()
                        / e.supporting.seed_sum.abs();
                    assert!(open <= LEDGER, "{} {rules} {what}: the ledger is open by {open:e}", m.name);
                    for row in e.supporting.ledger.as_ref().unwrap() {
                        let open = row.residual().abs() / e.supporting.seed_sum.abs();
                        assert!(open <= LEDGER, "{} {rules} {what}: row {row:?} is open by {open:e}", m.name);
                    }
                }
            }
        }
    }
}

#[test]
fn threads_and_repetition_do_not_change_a_bit() {
    for m in &zoo_models_or_skip() {
        let program = program(&m.model, "dlb");
        let inputs = inputs_of(&program, &npz(&m.inputs));
        let request = request(&program, Target::Argmax);
        let (single_threaded, two_threaded) = (cpu(program.clone(), 1), cpu(program, 2));
        let first = explain(&two_threaded, &inputs, &request).supporting.relevance;
        assert_eq!(
            first,
            explain(&two_threaded, &inputs, &request).supporting.relevance,
            "{}: two runs differ",
            m.name
        );
        assert_eq!(
            first,
            explain(&single_threaded, &inputs, &request).supporting.relevance,
            "{}: 1 and 2 threads differ",
            m.name
        );
    }
}

#[test]
fn a_batch_equals_its_single_runs() {
    for m in &zoo_models_or_skip() {
        let program = program(&m.model, "dlb");
        let inputs = inputs_of(&program, &npz(&m.alt));
        let request = request(&program, Target::Argmax);
        let session = cpu(program, 2);
        let batch = explain(&session, &inputs, &request);
        let rows = inputs.values().next().unwrap().dims()[0];
        // Some exporters fix the batch that they traced.
        if session.program().info.inputs.iter().any(|i| i.ty.dim(0).as_known().is_some_and(|n| n != 1)) {
            continue;
        }
        for row in 0..rows {
            let single = inputs.iter().map(|(n, t)| (n.clone(), pick(t, row))).collect();
            let separate = explain(&session, &single, &request);
            for (name, r) in &separate.supporting.relevance {
                let gap = relative_l1(&pick(&batch.supporting.relevance[name], row), r);
                // A batch takes other matrix tiles: not the same bits.
                assert!(gap <= 1e-6, "{} row {row} of {rows}, {name}: {gap:e}", m.name);
            }
        }
    }
}

fn zoo_models_or_skip() -> Vec<ZooModel> {
    if zoo().is_some() {
        zoo_models(&[VISION_AND_TABULAR, SEQUENCE, VISION_TASKS, EXPERTS].concat())
    } else {
        vec![]
    }
}
