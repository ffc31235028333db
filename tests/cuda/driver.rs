//! Models behind a driver: the fake one, which runs kernels on the interpreter as late as it may, and that of a GPU.

use std::thread;

use crate::common::*;
use crate::interpreted::{SHIPPED, asked, device, differ, of_zoo, request, say, shipped};
use crate::machine::Machine;
use dlbc_cuda::{CudaBackend, open};
use dlbc_ops::program::Program;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{ErrorKind, Session, SessionOptions, Tensors};

/// A check of a backend on a driver.
type Check = fn(&CudaBackend);

const CHECKS: [(&str, Check); 4] = [
    ("models that ship equal the CPU backend", models_equal),
    ("repeated runs have the same bits", runs_repeat),
    ("200 runs with changing inputs in one session equal the CPU backend", inputs_change),
    ("two sessions in two threads equal the CPU backend", threads_share),
];

/// Opens the driver of this machine.
fn backend() -> CudaBackend {
    open(0).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs a check behind the fake driver, as the test of this name.
fn behind(test: &str, faults: &str, check: Check) {
    Machine::new(faults).run(&format!("driver::{test}"), || check(&backend()));
}

#[test]
#[cfg(target_os = "linux")]
fn models_that_ship_equal_the_cpu_backend() {
    behind("models_that_ship_equal_the_cpu_backend", "", models_equal);
}

#[test]
#[cfg(target_os = "linux")]
fn repeated_runs_have_the_same_bits() {
    behind("repeated_runs_have_the_same_bits", "", runs_repeat);
}

#[test]
#[cfg(target_os = "linux")]
fn runs_with_changing_inputs_equal_the_cpu_backend() {
    behind("runs_with_changing_inputs_equal_the_cpu_backend", "", inputs_change);
}

#[test]
#[cfg(target_os = "linux")]
fn two_sessions_in_two_threads_equal_the_cpu_backend() {
    behind("two_sessions_in_two_threads_equal_the_cpu_backend", "", threads_share);
}

#[test]
#[cfg(target_os = "linux")]
fn launches_one_by_one_give_the_same_bits() {
    Machine::new("").with("DLBC_CUDA_SYNC", "1").run(
        "driver::launches_one_by_one_give_the_same_bits",
        || {
            same_bits_as_the_interpreter(&backend());
        },
    );
}

/// Recurrences, data-dependent dimensions, experts that share a plan, attention: runs of several graphs, and weights as inputs.
#[test]
#[cfg(target_os = "linux")]
fn zoo_models_equal_the_cpu_backend() {
    let Some(zoo) = zoo() else { return };
    Machine::new("").run("driver::zoo_models_equal_the_cpu_backend", || {
        let backend = backend();
        for name in ["lstm_bi2", "gru", "bert_sdpa", "olmoe", "det_fasterrcnn", "resnet"] {
            let (program, inputs) = of_zoo(&zoo, name, "dlb");
            let request = asked(&program);
            let expected = explain(&cpu(program.clone(), 1), &inputs, &request);
            let session = session(&backend, program);
            for run in 0..2 {
                let clock = std::time::Instant::now();
                let actual = explain(&session, &inputs, &request);
                println!("\n# {name}: {:.1} s", clock.elapsed().as_secs_f64());
                differ(&actual, &expected).unwrap_or_else(|e| panic!("{name}, run {run}: {e}"));
            }
        }
    });
}

/// Bits of graphs behind the driver are those of the same launches without one.
#[test]
#[cfg(target_os = "linux")]
fn graphs_give_the_bits_of_the_interpreter() {
    behind("graphs_give_the_bits_of_the_interpreter", "", same_bits_as_the_interpreter);
}

#[test]
#[cfg(target_os = "linux")]
fn a_model_beyond_the_memory_leaves_room_for_a_smaller_one() {
    let check = |backend: &CudaBackend| {
        for round in 0..3 {
            let (program, inputs) = shipped("digits_cnn");
            let error = session(backend, program).explain(&inputs, &request()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Device, "{round}: {error}");
            assert!(error.to_string().contains("out of device memory"), "{round}: {error}");
            let (program, inputs) = shipped("tabular_mlp");
            let expected = explain(&cpu(program.clone(), 1), &inputs, &request());
            let actual = explain(&session(backend, program), &inputs, &request());
            differ(&actual, &expected).unwrap_or_else(|e| panic!("{round}: {e}"));
        }
    };
    behind("a_model_beyond_the_memory_leaves_room_for_a_smaller_one", "memory=60000", check);
}

/// With less memory than the plan takes, the reverse computes values again, and gives the same bits.
#[test]
#[cfg(target_os = "linux")]
fn values_are_computed_again_for_want_of_memory() {
    let test = "driver::values_are_computed_again_for_want_of_memory";
    let check = || {
        let (program, inputs) = shipped("digits_cnn");
        let expected = explain(&device(program.clone(), 1), &inputs, &request());
        let session = session(&backend(), program);
        for run in 0..2 {
            let actual = explain(&session, &inputs, &request());
            assert_eq!(actual.outputs, expected.outputs, "run {run}");
            assert_eq!(actual.supporting.relevance, expected.supporting.relevance, "run {run}");
        }
        let (memory, _) = session.memory().unwrap();
        println!("\n# {} {} {}", memory.segments, memory.constant_bytes, memory.plan_bytes);
    };
    let numbers = |lines: Vec<String>| -> Vec<u64> {
        lines.iter().flat_map(|line| line.split(' ')).map(|word| word.parse().unwrap()).collect()
    };
    let all = numbers(Machine::new("").run(test, check));
    // This is the process that ran the check.
    let [segments, constants, plan] = all[..] else { return };
    assert!(segments < 2, "{segments} segments in all of the memory");
    // The backend leaves a twentieth of the memory to the driver.
    let bytes = (constants + plan * 8 / 10) * 20 / 19 + 4096;
    let [segments, _, plan_bytes] = numbers(Machine::new(&format!("memory={bytes}")).run(test, check))[..]
    else {
        panic!("no numbers");
    };
    assert!(segments > 1 && plan_bytes < plan, "{segments} segments in {plan_bytes} bytes of {plan}");
}

/// Checks that need a GPU. `DLBC_REQUIRE_GPU=1` makes them fail on a machine without one.
#[test]
fn on_a_gpu() {
    let backend = match open(0) {
        Ok(backend) => backend,
        Err(e) => {
            assert!(std::env::var_os("DLBC_REQUIRE_GPU").is_none(), "{e}");
            say(&format!("CUDA: skipped {} GPU tests ({e})", CHECKS.len()));
            return;
        }
    };
    for (what, check) in CHECKS {
        check(&backend);
        println!("{}: {what}", backend.describe());
    }
}

fn session(backend: &CudaBackend, program: Program) -> Session {
    Session::new(program, Box::new(backend.clone()), SessionOptions::default())
        .unwrap_or_else(|e| panic!("{e}"))
}

fn models_equal(backend: &CudaBackend) {
    for name in SHIPPED {
        let (program, inputs) = shipped(name);
        let expected = explain(&cpu(program.clone(), 1), &inputs, &request());
        let actual = explain(&session(backend, program), &inputs, &request());
        differ(&actual, &expected).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

fn runs_repeat(backend: &CudaBackend) {
    let (program, inputs) = shipped(SHIPPED[0]);
    let session = session(backend, program);
    let first = explain(&session, &inputs, &request()).supporting.relevance;
    for _ in 0..20 {
        assert_eq!(explain(&session, &inputs, &request()).supporting.relevance, first);
    }
}

/// Inputs that differ in every run.
fn changed(inputs: &Tensors, run: usize) -> Tensors {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(run as u64 + 1);
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut change = |t: &Tensor| {
        let values: Vec<f32> = t.to_f32().iter().map(|v| v + noise()).collect();
        Tensor::from_f32(t.dims(), &values)
    };
    inputs.iter().map(|(name, t)| (name.clone(), change(t))).collect()
}

/// Runs with inputs of their own, each compared with the CPU backend.
fn runs_equal(session: &Session, (program, inputs): (Program, Tensors), runs: std::ops::Range<usize>) {
    let reference = cpu(program, 1);
    for run in runs {
        let inputs = changed(&inputs, run);
        let expected = explain(&reference, &inputs, &request());
        let actual = explain(session, &inputs, &request());
        differ(&actual, &expected).unwrap_or_else(|e| panic!("run {run}: {e}"));
    }
}

fn inputs_change(backend: &CudaBackend) {
    let (program, inputs) = shipped("tabular_mlp");
    runs_equal(&session(backend, program.clone()), (program, inputs), 0..200);
}

/// Two devices on the same GPU, each in its thread, and two sessions on one device.
fn threads_share(shared: &CudaBackend) {
    thread::scope(|scope| {
        for (thread, name) in SHIPPED.into_iter().chain(SHIPPED).enumerate() {
            scope.spawn(move || {
                let backend = if thread < SHIPPED.len() { backend() } else { shared.clone() };
                let (program, inputs) = shipped(name);
                let first = 20 * thread;
                runs_equal(&session(&backend, program.clone()), (program, inputs), first..first + 10);
            });
        }
    });
}

fn same_bits_as_the_interpreter(backend: &CudaBackend) {
    for name in SHIPPED {
        let (program, inputs) = shipped(name);
        let (interpreted, driven) = (device(program.clone(), 1), session(backend, program));
        for run in 0..3 {
            let inputs = changed(&inputs, run);
            let [expected, actual] = [&interpreted, &driven].map(|s| explain(s, &inputs, &request()));
            assert_eq!(actual.outputs, expected.outputs, "{name}, run {run}");
            assert_eq!(actual.supporting.relevance, expected.supporting.relevance, "{name}, run {run}");
        }
    }
}
