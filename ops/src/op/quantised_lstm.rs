//! Long short-term memory with int8 weights, whose elements and states are rounded to 8 bits by their own ranges. Reads
//! `DynamicQuantizeLSTM` of com.microsoft.
//!
//! Operands: those of `LSTM`, with W `[directions, features, 4 hidden]` and R `[directions, hidden, 4 hidden]`, then scale and zero
//! point of W and of R, `[directions]` or `[directions, 4 hidden]`.

use super::quantisation_layout::finite;
use super::quantise::rounded;
use super::read::{MICROSOFT, Reader, Reading};
use super::{Mul, Sub, Transpose, lstm};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `DynamicQuantizeLSTM`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "DynamicQuantizeLSTM", read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let (w, recurrent) = (r.input(1)?, r.input(2)?);
    let (w_scale, w_zero) = (r.input(8)?, r.optional(9));
    let (r_scale, r_zero) = (r.input(10)?, r.optional(11));
    let x = rounded(r, x)?;
    let w = weights(r, w, w_scale, w_zero)?;
    let recurrent = weights(r, recurrent, r_scale, r_zero)?;
    let mut operands = vec![Some(x), Some(w), Some(recurrent)];
    operands.extend((3..8).map(|i| r.optional(i)));
    r.with_operands("LSTM", 14, &operands, |r| lstm::read_layer(r, true))
}

/// Adds the values of weights `[directions, inputs, rows]`, as `[directions, rows, inputs]`.
fn weights(r: &mut Reading, w: Value, scale: Value, zero: Option<Value>) -> Result<Value, OpError> {
    finite(r, scale)?;
    let shape = r.ty(w).shape;
    let [directions, _, rows] = shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of the weights", 3, shape.rank()));
    };
    let spread = |r: &mut Reading, v: Value| {
        let rows_of_scale = match r.ty(v).shape.0.as_slice() {
            [d] if d == directions => Dim::known(1),
            [d, n] if d == directions && n == rows => rows.clone(),
            _ => {
                let property = format!("shape of `{}`", r.graph.value_name(v));
                let expected = format!("[{directions}] or [{directions}, {rows}]");
                return Err(OpError::invalid(&property, expected, r.ty(v).shape));
            }
        };
        r.reshape(v, Shape(vec![directions.clone(), Dim::known(1), rows_of_scale]))
    };
    let mut values = r.cast(w, DType::F32)?;
    if let Some(zero) = zero {
        let zero = spread(r, zero)?;
        let zero = r.cast(zero, DType::F32)?;
        values = r.add(Sub, &[values, zero])?;
    }
    let scale = spread(r, scale)?;
    let values = r.add(Mul, &[values, scale])?;
    r.add(Transpose { perm: vec![0, 2, 1] }, &[values])
}
