//! Losses of classifiers, read as a look-up of the label's log-probability. Reads `NegativeLogLikelihoodLoss` and
//! `SoftmaxCrossEntropyLoss`.
//!
//! Shapes: scores `[n, c, d₁, …]`, labels `[n, d₁, …]` (integers), weight `[c]` (optional), loss `[n, d₁, …]` or a scalar.

use super::read::{Reader, Reading};
use super::{Div, Gather, Mul, Reduce, ReduceKind, Softmax, elements};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Returns the readers of `NegativeLogLikelihoodLoss` and `SoftmaxCrossEntropyLoss`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("NegativeLogLikelihoodLoss", 12, |r| {
            let x = r.input(0)?;
            Ok(vec![read(r, x)?])
        }),
        Reader::new("SoftmaxCrossEntropyLoss", 12, |r| {
            let scores = r.input(0)?;
            if r.ty(scores).rank() < 2 {
                return Err(OpError::mismatch("rank of scores", "at least 2", r.ty(scores)));
            }
            let log = r.add(Softmax { axis: 1, log: true }, &[scores])?;
            Ok(vec![read(r, log)?, log])
        }),
    ]
}

/// Reads the loss of log-probabilities `x`.
fn read(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    let (shape, labels) = (r.ty(x).shape, r.input(1)?);
    let to = r.ty(labels).shape;
    if shape.rank() < 2 || to.rank() + 1 != shape.rank() {
        return Err(OpError::mismatch("rank of labels", shape.rank() as i64 - 1, r.ty(labels)));
    }
    let mut labels = r.cast(labels, DType::I64)?;
    // 1 where the label counts.
    let counts = match r.int("ignore_index")? {
        None => None,
        Some(ignored) => {
            let (ignored, zero) = (r.add_scalar(ignored as f64, DType::I64), r.add_scalar(0.0, DType::I64));
            let is_ignored = r.compare(Binary::Equal, labels, ignored)?;
            labels = r.select(is_ignored, zero, labels)?;
            let (off, on) = (r.add_scalar(0.0, DType::F32), r.add_scalar(1.0, DType::F32));
            Some(r.select(is_ignored, off, on)?)
        }
    };
    let weight = match (r.optional(2), counts) {
        (None, counts) => counts,
        (Some(weight), counts) => {
            let by_label = r.add(Gather { axis: 0 }, &[weight, labels])?;
            Some(counts.map_or(Ok(by_label), |counts| r.add(Mul, &[by_label, counts]))?)
        }
    };
    let column = Shape([&to.0[..1], &[Dim::known(1)], &to.0[1..]].concat());
    let labels = r.reshape(labels, column)?;
    let chosen = elements::gather(r, x, labels, 1)?;
    let chosen = r.reshape(chosen, to)?;
    let mut loss = r.unary(Unary::Neg, chosen)?;
    if let Some(weight) = weight {
        loss = r.add(Mul, &[loss, weight])?;
    }
    let all: Vec<usize> = (0..shape.rank() - 1).collect();
    let total =
        |r: &mut Reading, x: Value, kind| r.add(Reduce { kind, axes: all.clone(), keep: false }, &[x]);
    match (r.string_or("reduction", "mean")?.as_str(), weight) {
        ("none", _) => Ok(loss),
        ("sum", _) => total(r, loss, ReduceKind::Sum),
        ("mean", None) => total(r, loss, ReduceKind::Mean),
        ("mean", Some(weight)) => {
            let (sum, count) = (total(r, loss, ReduceKind::Sum)?, total(r, weight, ReduceKind::Sum)?);
            r.add(Div, &[sum, count])
        }
        (other, _) => Err(OpError::mismatch("reduction", "none, sum or mean", other)),
    }
}
