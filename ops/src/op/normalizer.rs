//! Scaling of each row to a norm of 1. Reads `Normalizer` of `ai.onnx.ml` as a reduction and a quotient.

use super::read::{Reader, Reading};
use super::{Div, Mul, ReduceKind};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::DType;

/// Returns the reader of `Normalizer`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "ai.onnx.ml", op: "Normalizer", since: 1, until: 5, read }]
}

/// Reads `Normalizer`. A row whose norm is 0 stays as it is.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let x = r.cast(x, DType::F32)?;
    let rank = r.ty(x).rank();
    let Some(last) = rank.checked_sub(1) else {
        return Err(OpError::mismatch("rank of the operand", "1 or more", rank));
    };
    let norm = match r.string_or("norm", "MAX")?.as_str() {
        "MAX" => r.reduce(ReduceKind::Max, x, &[last])?,
        "L1" => {
            let size = r.unary(Unary::Abs, x)?;
            r.reduce(ReduceKind::Sum, size, &[last])?
        }
        "L2" => {
            let square = r.add(Mul, &[x, x])?;
            let sum = r.reduce(ReduceKind::Sum, square, &[last])?;
            r.unary(Unary::Sqrt, sum)?
        }
        other => return Err(OpError::invalid("norm", "MAX, L1 or L2", other)),
    };
    let (zero, unit) = (r.add_scalar(0.0, DType::F32), r.add_scalar(1.0, DType::F32));
    let is_zero = r.compare(Binary::Equal, norm, zero)?;
    let norm = r.select(is_zero, unit, norm)?;
    Ok(vec![r.add(Div, &[x, norm])?])
}
