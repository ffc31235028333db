//! A CI gate that fails if a new model explains its answers differently from the old one.

use std::process::ExitCode;

use dlbc::diff::{DiffOptions, difference};
use dlbc::results::{Stored, stored};
use dlbc::{Explainer, Inputs};

fn explain(model: &str) -> dlbc::Result<Stored> {
    let explainer = Explainer::from_onnx(model).composite("lrp-epsilon").build()?;
    let inputs = Inputs::for_model(&explainer).npz("fixtures/digits_cnn/input.npz").build()?;
    Ok(stored(&explainer, &explainer.explain(&inputs)?))
}

fn main() -> dlbc::Result<ExitCode> {
    let (before, after) = ("fixtures/digits_cnn/model.onnx", "fixtures/digits_cnn/model.onnx");
    let bounds = DiffOptions { min_rank: Some(0.99), max_l1: Some(0.01), ..DiffOptions::default() };
    let difference = difference(&bounds, &explain(before)?, &explain(after)?)?;
    for tensor in &difference.tensors {
        println!("{}: rank correlation {:.4}", tensor.tensor, tensor.agreement.rank);
    }
    difference.failed.iter().for_each(|bound| eprintln!("{bound}"));
    Ok(if difference.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
