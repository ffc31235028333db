//! Whole models on the CUDA backend with the interpreter for a device: equal to the CPU backend, the same bits each time.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Instant;

use common::*;
use dlbc_cuda::CudaBackend;
use dlbc_ops::program::Program;
use dlbc_ptxsim::Simulator;
use dlbc_runtime::{Explanation, Request, RunOptions, Session, Target, Tensors};

/// Bounds: outputs relative in L1, relevance by element of the sum.
const FORWARD: f64 = 1e-5;
const ELEMENT: f64 = 1e-4;
/// What the ledger may leave open, of the start.
const LEDGER: f64 = 1e-4;

fn device(program: Program, schedule: u64) -> Session {
    let backend = CudaBackend::new(Box::new(Simulator::new(None, schedule)));
    Session::new(program, Box::new(backend), RunOptions::default()).unwrap_or_else(|e| panic!("{e}"))
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

fn differ(found: &Explanation, expected: &Explanation) -> Result<(), String> {
    for (output, expected) in &expected.outputs {
        let gap = relative_l1(&found.outputs[output], expected);
        if gap.is_nan() || gap > FORWARD {
            return Err(format!("output {output}: relative L1 {gap:e}"));
        }
    }
    for (input, expected) in &expected.relevance {
        let gap = worst_element(&found.relevance[input], expected);
        if gap.is_nan() || gap > ELEMENT {
            return Err(format!("relevance of {input}: {gap:e} of the sum"));
        }
    }
    let open = (found.start - found.inputs.values().sum::<f64>() - found.absorbed).abs() / found.start.abs();
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
    for m in zoo_models(&[VISION_AND_TABULAR, SEQUENCE].concat()) {
        if !m.name.contains(&only) {
            continue;
        }
        let program = program(&m.model, "dlb");
        let inputs = smallest(&program, inputs_of(&program, &npz(&m.inputs)));
        // The same unit on both: a near tie may fall differently.
        let request = Request { audit: true, target: Target::Index(0), ..Request::default() };
        let expected = explain(&cpu(program.clone(), 1), &inputs, &request);
        let clock = Instant::now();
        let found = device(program, 1).explain(&inputs, &request).map_err(|e| e.to_string());
        println!("{}: {:.1} s", m.name, clock.elapsed().as_secs_f64());
        if let Err(e) = found.and_then(|found| differ(&found, &expected)) {
            faults.push(format!("{}: {e}", m.name));
        }
        count += 1;
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    println!("{count} zoo models on the interpreted device equal the CPU backend");
}
