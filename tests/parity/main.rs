//! Relevance against the numbers of other systems, recorded in the zoo.
//!
//! `DLBC_UPDATE_DOCS=1` writes docs/src/appendix/parity.md.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod gradients;
mod zennit;

use std::fmt::Write;

use common::*;

/// Comparison of one model under one composite.
pub struct Row {
    system: &'static str,
    model: &'static str,
    /// Name of the composite in the other system.
    theirs: &'static str,
    /// Name of the composite in dlbc. Parameters are adapted where the two systems differ in a number.
    ours: &'static str,
    /// Relative L1 difference of the input's relevance.
    input: f64,
    /// Number of compared layers, and the largest relative L1 difference among them.
    layers: (usize, f64),
    /// Residual of the ledger, relative to the seed.
    open: f64,
    bound: f64,
}

#[test]
fn relevance_equals_that_of_other_systems() {
    let Some(zoo) = zoo() else { return };
    let rows: Vec<Row> =
        [zennit::compare(&zoo), gradients::torch(&zoo), gradients::lxt(&zoo)].into_iter().flatten().collect();
    let fault = |r: &&Row| {
        let gap = r.input.max(r.layers.1);
        gap.is_nan() || gap > r.bound || r.open.is_nan() || r.open > 1e-4
    };
    let faults: Vec<String> = rows
        .iter()
        .filter(fault)
        .map(|r| {
            format!(
                "{} {} {}: input {:e} layers {:e} ledger {:e}",
                r.system, r.model, r.theirs, r.input, r.layers.1, r.open
            )
        })
        .collect();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.join("\n"));
    let layers: usize = rows.iter().map(|r| r.layers.0).sum();
    assert!(rows.len() > 200 && layers > 1000, "{} rows, {layers} layers", rows.len());
    if std::env::var_os("DLBC_UPDATE_DOCS").is_some() {
        std::fs::write(root().join("docs/src/appendix/parity.md"), page(&rows)).unwrap();
    }
    println!("{} inputs and {layers} layers equal those of other systems", rows.len());
}

fn page(rows: &[Row]) -> String {
    let mut out = String::from(
        "# Parity\n\nAfter this page you know how far the relevance is from that of zennit, LXT and PyTorch on the same \
         weights. One command compares again:\n\n<!-- not run: CI runs the tests -->\n```sh\ncargo test --workspace \
         --test parity\n```\n\nThe relevance of inputs against that of other systems, on the same weights: relative L1, the float32 of \
         both sides included. Where\nthe system keeps relevance of layers, the worst of them is given too. The page is \
         written by\n`DLBC_UPDATE_DOCS=1 cargo test --workspace --test parity` where the model zoo lies beside the \
         checkout.\n\nThe bound is 1e-3 for zennit and LXT, 1e-4 for gradients. Two maps of zennit's are beyond it: \
         resnet_bottleneck under the\nw² and flat rules, whose residual sums nearly cancel while the rules do not look at \
         them. The recording is in float32, and\nour float64 reference is 1.5e-3 from it too.\n",
    );
    let mut systems: Vec<&str> = rows.iter().map(|r| r.system).collect();
    systems.dedup();
    for system in systems {
        let _ = writeln!(
            out,
            "\n## {system}\n\n| model | composite | theirs | input | layers, worst |\n| --- | --- | --- | --- | --- |"
        );
        for r in rows.iter().filter(|r| r.system == system) {
            let layers = match r.layers {
                (0, _) => String::new(),
                (n, worst) => format!("{n}, {worst:.1e}"),
            };
            let _ =
                writeln!(out, "| {} | `{}` | {} | {:.1e} | {layers} |", r.model, r.ours, r.theirs, r.input);
        }
    }
    out
}
