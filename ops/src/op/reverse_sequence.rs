//! Reversal of the first elements of each sequence of a batch. Reads `ReverseSequence`.

use super::read::{Reader, Reading, resolve};
use super::{Expand, Sub, elements};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `ReverseSequence`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("ReverseSequence", 10, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, lengths) = (r.input(0)?, r.input(1)?);
    let shape = r.ty(x).shape;
    let time = resolve(r.int_or("time_axis", 0)?, shape.rank())?;
    let batch = resolve(r.int_or("batch_axis", 1)?, shape.rank())?;
    if time == batch {
        return Err(OpError::mismatch("batch_axis", "an axis other than the time axis", batch));
    }
    let mut column = vec![Dim::known(1); shape.rank()];
    column[batch] = shape.0[batch].clone();
    let lengths = r.cast(lengths, DType::I64)?;
    let lengths = r.reshape(lengths, Shape(column))?;
    let position = r.count_along(&shape.0[time], time, shape.rank())?;
    let is_inside = r.compare(Binary::Less, position, lengths)?;
    let unit = r.add_scalar(1.0, DType::I64);
    let last = r.add(Sub, &[lengths, unit])?;
    let mirrored = r.add(Sub, &[last, position])?;
    let source = r.select(is_inside, mirrored, position)?;
    let source = r.add(Expand { to: shape }, &[source])?;
    Ok(vec![elements::gather(r, x, source, time)?])
}
