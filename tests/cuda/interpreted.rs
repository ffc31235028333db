//! Whole models on the CUDA backend with the interpreter for a device: equal to the CPU backend, the same bits each time.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::common::*;
use dlbc_cuda::{CudaBackend, Math, Precision};
use dlbc_ops::program::Program;
use dlbc_ptxsim::Simulator;
use dlbc_runtime::{ErrorKind, Explanation, MemoryReport, Request, Session, SessionOptions, Target, Tensors};

/// Bounds of differences: relative L1 of outputs, and relevance of an element relative to the sum.
const FORWARD: f64 = 1e-5;
const ELEMENT: f64 = 1e-4;
/// Bound for coarser precisions, in multiples of the error of one product.
const COARSE: f64 = 4.0;
/// Bound of the ledger's residual, relative to the seed.
const LEDGER: f64 = 1e-4;

pub fn device(program: Program, schedule: u64) -> Session {
    precise(program, schedule, Precision::Tf32x3)
}

fn precise(program: Program, schedule: u64, precision: Precision) -> Session {
    let backend = CudaBackend::new(Box::new(Simulator::new(None, schedule))).with_precision(precision);
    Session::new(program, Box::new(backend), SessionOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// A model that ships, with its input.
pub fn shipped(name: &str) -> (Program, Tensors) {
    let folder = root().join("fixtures").join(name);
    let program = program(&folder.join("model.onnx"), "dlb");
    let inputs = inputs_of(&program, &npz(&folder.join("input.npz")));
    (program, inputs)
}

pub const SHIPPED: [&str; 2] = ["digits_cnn", "tabular_mlp"];

pub fn request() -> Request {
    // The same unit on both: a near tie may fall differently.
    Request::new().ledger().target(Target::Index(0))
}

/// The same of a model whose outputs may have no units.
pub fn asked(program: &Program) -> Request {
    request().target(crate::common::request(program, Target::Index(0)).target)
}

/// One row where the model takes any number of rows.
fn smallest(program: &Program, inputs: Tensors) -> Tensors {
    let free =
        |i: &dlbc_ops::program::InputInfo| i.ty.shape.0.first().is_some_and(|d| d.as_known().is_none());
    if !program.info.inputs.iter().all(free) {
        return inputs;
    }
    inputs.iter().map(|(n, t)| (n.clone(), pick(t, 0))).collect()
}

/// A model of the zoo in its smallest shapes.
pub fn of_zoo(zoo: &Path, name: &str, rules: &str) -> (Program, Tensors) {
    let file = |suffix: &str| zoo.join("v4.48").join(format!("{name}.{suffix}"));
    let program = crate::common::program(&file("ts.onnx"), rules);
    let inputs = smallest(&program, inputs_of(&program, &npz(&file("in.npz"))));
    (program, inputs)
}

/// Models that ship, and where the zoo is there some of its.
fn models(ship: &[&'static str], others: &[&'static str]) -> Vec<(&'static str, Program, Tensors)> {
    let named = |name, (program, inputs)| (name, program, inputs);
    let mut all: Vec<_> = ship.iter().map(|name| named(*name, shipped(name))).collect();
    if let Some(zoo) = zoo() {
        all.extend(others.iter().map(|name| named(*name, of_zoo(&zoo, name, "dlb"))));
    }
    all
}

pub fn differ(actual: &Explanation, expected: &Explanation) -> Result<(), String> {
    for (output, expected) in &expected.outputs {
        let gap = relative_l1(&actual.outputs[output], expected);
        if gap.is_nan() || gap > FORWARD {
            return Err(format!("output {output}: relative L1 {gap:e}"));
        }
    }
    for (input, expected) in &expected.supporting.relevance {
        let gap = worst_element(&actual.supporting.relevance[input], expected);
        if gap.is_nan() || gap > ELEMENT {
            return Err(format!("relevance of {input}: {gap:e} of the sum"));
        }
    }
    let open = (actual.supporting.seed_sum
        - actual.supporting.input_sums.values().sum::<f64>()
        - actual.supporting.absorbed)
        .abs()
        / actual.supporting.seed_sum.abs();
    if open.is_nan() || open > LEDGER { Err(format!("the ledger is open by {open:e}")) } else { Ok(()) }
}

#[test]
fn zoo_models_equal_the_cpu_backend() {
    if zoo().is_none() {
        return;
    }
    let only = std::env::var("DLBC_ZOO_MODEL").unwrap_or_default();
    let mut count = 0;
    let mut faults = vec![];
    for m in zoo_models(&[VISION_AND_TABULAR, SEQUENCE, VISION_TASKS, EXPERTS, &["jetmoe"]].concat()) {
        if !m.name.contains(&only) {
            continue;
        }
        let program = program(&m.model, "dlb");
        let inputs = smallest(&program, inputs_of(&program, &npz(&m.inputs)));
        let request = asked(&program);
        let expected = explain(&cpu(program.clone(), 1), &inputs, &request);
        let clock = Instant::now();
        let result = device(program, 1).explain(&inputs, &request).map_err(|e| e.to_string());
        println!("{}: {:.1} s", m.name, clock.elapsed().as_secs_f64());
        if let Err(e) = result.and_then(|result| differ(&result, &expected)) {
            faults.push(format!("{}: {e}", m.name));
        }
        count += 1;
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    say(&format!("CUDA: {count} zoo models on the interpreted device equal the CPU backend"));
}

#[test]
fn models_that_ship_equal_the_cpu_backend_by_many_composites() {
    for name in SHIPPED {
        let (program, inputs) = shipped(name);
        let expected = explain(&cpu(program.clone(), 1), &inputs, &request());
        differ(&explain(&device(program.clone(), 1), &inputs, &request()), &expected)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        differ(&explain(&precise(program, 1, Precision::Simt), &inputs, &request()), &expected)
            .unwrap_or_else(|e| panic!("{name} without tensor cores: {e}"));
    }
    let Some(zoo) = zoo() else { return };
    let mut count = 0;
    for (model, rules) in [
        ("resnet", ["dlb-v2", "lrp-alpha2-beta1", "grad-x-input"]),
        ("bert", ["dlb-v2", "attnlrp", "lrp-epsilon"]),
        ("llama", ["dlb-values", "cp-lrp", "gradient"]),
        ("gru", ["dlb-v2", "lrp-epsilon", "grad-x-input"]),
    ] {
        for rules in rules {
            let (program, inputs) = of_zoo(&zoo, model, rules);
            let request = Request::new().target(Target::Index(0));
            let expected = explain(&cpu(program.clone(), 1), &inputs, &request);
            let precision = if count % 3 == 2 { Precision::Simt } else { Precision::Tf32x3 };
            let actual = explain(&precise(program, 1, precision), &inputs, &request);
            for (input, expected) in &expected.supporting.relevance {
                let gap = worst_element(&actual.supporting.relevance[input], expected);
                assert!(
                    gap <= 10.0 * ELEMENT,
                    "{model} by {rules}, relevance of {input}: {gap:e} of the sum"
                );
            }
            count += 1;
        }
    }
    println!("{count} models by other composites equal the CPU backend");
}

/// Rounded operands put outputs and relevance of a model off by no more than a few times the error of one product.
#[test]
fn coarser_precisions_stay_within_their_bounds() {
    let models = models(&SHIPPED, &["resnet", "bert"]);
    let request = Request::new().target(Target::Index(0));
    for (name, program, inputs) in models {
        let expected = explain(&cpu(program.clone(), 1), &inputs, &request);
        for (precision, math) in [(Precision::Tf32, Math::Tf32), (Precision::Bf16, Math::Bf16)] {
            let actual = explain(&precise(program.clone(), 1, precision), &inputs, &request);
            let outputs = expected.outputs.iter().map(|(o, e)| relative_l1(&actual.outputs[o], e));
            let relevance = expected
                .supporting
                .relevance
                .iter()
                .map(|(i, e)| worst_element(&actual.supporting.relevance[i], e));
            let [outputs, relevance] =
                [outputs.fold(0.0, f64::max), relevance.fold(0.0, f64::max)].map(|gap| gap / math.rounding());
            println!(
                "{name} in {precision:?}: outputs {outputs:.2}, relevance {relevance:.2} times the error"
            );
            assert!(outputs <= COARSE && relevance <= COARSE, "{name} in {precision:?}");
        }
    }
}

#[test]
fn whole_models_repeat_their_bits_under_five_schedules() {
    let models = models(&SHIPPED, &["efficientnet", "bert", "lstm", "olmoe", "det_fasterrcnn"]);
    for (name, program, inputs) in &models {
        let session = device(program.clone(), 1);
        let first = explain(&session, inputs, &asked(program));
        let again = explain(&session, inputs, &asked(program));
        assert_eq!(first.supporting.relevance, again.supporting.relevance, "{name}: two runs differ");
        for schedule in 2..=5 {
            let other = explain(&device(program.clone(), schedule), inputs, &asked(program));
            assert_eq!(
                first.supporting.relevance, other.supporting.relevance,
                "{name}: schedule {schedule} gives other bits"
            );
            assert_eq!(first.outputs, other.outputs, "{name}: schedule {schedule} gives other bits");
        }
    }
    println!("{} whole models have the same bits under 5 schedules", models.len());
}

/// Opens a session whose memory beyond the weights is a share of that which the plan of another one takes.
fn limited(program: &Program, whole: MemoryReport, share: f64) -> Session {
    let bytes = whole.constant_bytes as f64 + share * whole.plan_bytes as f64;
    let device = Simulator::new(Some((bytes * 20.0 / 19.0) as u64 + 4096), 1);
    let backend = Box::new(CudaBackend::new(Box::new(device)));
    Session::new(program.clone(), backend, SessionOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn memory_over_budget_is_computed_again_with_the_same_bits() {
    let models = models(&["digits_cnn"], &["resnet", "bert", "unet"]);
    for (name, program, inputs) in &models {
        let session = device(program.clone(), 1);
        let expected = explain(&session, inputs, &asked(program));
        let (whole, _) = session.memory().unwrap();
        let mut tried = vec![];
        for share in [0.9, 0.8, 0.7, 0.6] {
            // A plan that is too large for any cut is refused, and tells what it wanted.
            match limited(program, whole, share).explain(inputs, &asked(program)) {
                Ok(actual) => {
                    assert_eq!(
                        actual.supporting.relevance, expected.supporting.relevance,
                        "{name} in {share} of the memory"
                    );
                    assert_eq!(actual.outputs, expected.outputs, "{name} in {share} of the memory");
                    tried.push(share);
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Device, "{name}: {e}"),
            }
        }
        println!("{name}: the same bits in {tried:?} of {} bytes", whole.plan_bytes);
        assert!(!tried.is_empty(), "{name} does not run in less memory");
    }
}

#[test]
fn targets_that_memory_does_not_hold_at_once_take_turns() {
    let (program, inputs) = shipped("digits_cnn");
    let targets: Vec<Target> = (0..7).map(Target::Index).collect();
    let session = device(program.clone(), 1);
    let expected = session.explain_targets(&inputs, &targets, &request()).unwrap();
    let (whole, all) = session.memory().unwrap();
    assert_eq!(all, 7);
    let mut turns = vec![];
    for share in [0.7, 0.45, 0.3] {
        let session = limited(&program, whole, share);
        let actual =
            session.explain_targets(&inputs, &targets, &request()).unwrap_or_else(|e| panic!("{share}: {e}"));
        for (actual, expected) in actual.iter().zip(&expected) {
            assert_eq!(actual.targets, expected.targets);
            differ(actual, expected).unwrap_or_else(|e| panic!("{share} of the memory: {e}"));
        }
        turns.push(session.memory().unwrap().1);
    }
    println!("of 7 targets {turns:?} at once");
    assert!(turns.iter().all(|t| *t < 7), "{turns:?}");
}

/// Writes a line to standard error, which cargo shows even if it captures output.
pub fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
