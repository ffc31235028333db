//! Linear models of `ai.onnx.ml`. Reads `LinearClassifier` and `LinearRegressor` as linear layers.

use super::Linear;
use super::classifier::{self, PostTransform, Scores};
use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Returns the readers of `LinearClassifier` and `LinearRegressor`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader { domain: "ai.onnx.ml", op: "LinearClassifier", since: 1, until: 5, read: read_classifier },
        Reader { domain: "ai.onnx.ml", op: "LinearRegressor", since: 1, until: 5, read: read_regressor },
    ]
}

fn read_classifier(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let labels = classifier::labels(r, "classlabels_ints")?;
    // The choice of one class against the rest or against each other has no effect on the scores.
    r.ignore(&["multi_class"]);
    let post = PostTransform::read(r)?;
    let intercepts = r.floats("intercepts")?.unwrap_or_default();
    let columns = if intercepts.is_empty() { labels.len() } else { intercepts.len() };
    let raw = product(r, columns, &intercepts)?;
    let scores = match (columns, labels.len()) {
        (1, 2) => Scores::Single { threshold: 0.0, complement: true },
        (columns, classes) if columns == classes => Scores::Largest,
        (columns, classes) => return Err(OpError::invalid("intercepts", format!("{classes} or 1"), columns)),
    };
    classifier::outputs(r, raw, &labels, scores, post)
}

fn read_regressor(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let targets = r.int_or("targets", 1)?;
    let targets = usize::try_from(targets).ok().filter(|t| *t > 0);
    let targets = targets.ok_or_else(|| OpError::invalid("targets", "at least 1", "fewer"))?;
    let post = PostTransform::read(r)?;
    let intercepts = r.floats("intercepts")?.unwrap_or_default();
    if !intercepts.is_empty() && intercepts.len() != targets {
        return Err(OpError::invalid("intercepts", targets, intercepts.len()));
    }
    let raw = product(r, targets, &intercepts)?;
    Ok(vec![post.apply(r, raw)?])
}

/// Adds the linear layer of the attribute `coefficients`, `[columns, feature]`.
fn product(r: &mut Reading, columns: usize, intercepts: &[f32]) -> Result<Value, OpError> {
    let x = rows(r)?;
    let coefficients = r.floats("coefficients")?;
    let coefficients = coefficients.ok_or_else(|| OpError::missing_attribute("coefficients", "floats"))?;
    let width = coefficients.len().checked_div(columns).unwrap_or(0);
    if width * columns != coefficients.len() {
        return Err(OpError::invalid("coefficients", format!("a multiple of {columns}"), coefficients.len()));
    }
    let weights = r.add_constant(Tensor::from_f32(&[columns, width], &coefficients));
    let mut operands = vec![x, weights];
    if !intercepts.is_empty() {
        operands.push(r.add_constant(Tensor::from_f32(&[intercepts.len()], intercepts)));
    }
    r.add(Linear { transposed: true }, &operands)
}

/// Returns the operand as a float matrix; a vector is one row.
///
/// # Errors
/// If it has more axes.
pub fn rows(r: &mut Reading) -> Result<Value, OpError> {
    let x = r.input(0)?;
    let x = r.cast(x, DType::F32)?;
    let ty = r.ty(x);
    match ty.rank() {
        2 => Ok(x),
        1 => r.reshape(x, Shape(vec![Dim::known(1), ty.dim(0).clone()])),
        rank => Err(OpError::mismatch("rank of the operand", "1 or 2", rank)),
    }
}
