//! Every composite on every model: it runs, gives numbers, and its books close.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use dlbc_runtime::{Request, Start, Target};

#[test]
fn every_composite_runs_on_every_model_and_closes() {
    if zoo().is_none() {
        return;
    }
    let models = zoo_models(&[VISION_AND_TABULAR, SEQUENCE, VISION_TASKS, EXPERTS].concat());
    let mut seen = std::collections::BTreeSet::new();
    let (mut runs, mut faults) = (0, vec![]);
    for m in &models {
        // One export of each model.
        let name = m.name.split('/').next_back().unwrap().split('.').next().unwrap().to_string();
        if !seen.insert(name) {
            continue;
        }
        for rules in one_run() {
            let program = program(&m.model, rules);
            let inputs = inputs_of(&program, &npz(&m.inputs));
            let request = Request {
                audit: true,
                start: if rules == "grad-x-input" { Start::Value } else { Start::One },
                ..request(&program, Target::Index(0))
            };
            let got = explain(&cpu(program, 2), &inputs, &request);
            runs += 1;
            if got.relevance.values().any(|r| r.to_f32().iter().any(|v| !v.is_finite())) {
                faults.push(format!("{} {rules}: not finite", m.name));
            }
            // Signed shares may be many times what arrives: a row is measured by what it moves.
            for row in got.ledger.as_ref().unwrap() {
                let size =
                    row.received.abs().max(row.passed.abs()).max(row.absorbed.abs()).max(got.start.abs());
                if row.residual().abs() > 1e-3 * size {
                    faults.push(format!("{} {rules}: {row:?}", m.name));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {runs} runs:\n{}", faults.len(), faults.join("\n"));
    println!("{runs} runs of {} models", seen.len());
}
