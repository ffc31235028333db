//! Update of a cache at a position of each row. Reads `TensorScatter`.
//!
//! Shapes: cache `[batch, …, length, …]`, update `[batch, …, new, …]`, positions `[batch]` (optional).

use super::read::{Reader, Reading, resolve};
use super::{Add, Arithmetic, Expand, Sub, elements};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `TensorScatter`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("TensorScatter", 24, read)]
}

/// Reads `TensorScatter`: each place of the cache takes the element of the update that falls on it, if any.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (cache, update) = (r.input(0)?, r.input(1)?);
    let (shape, new) = (r.ty(cache).shape, r.ty(update).shape);
    let axis = resolve(r.int_or("axis", -2)?, shape.rank())?;
    if axis == 0 || new.rank() != shape.rank() {
        return Err(OpError::mismatch("update", format!("the axes of the cache {shape}"), new));
    }
    let circular = match r.string_or("mode", "linear")?.as_str() {
        "linear" => false,
        "circular" => true,
        other => return Err(OpError::mismatch("mode", "linear or circular", other)),
    };
    let mut offset = r.count_along(&shape.0[axis], axis, shape.rank())?;
    if let Some(positions) = r.optional(2) {
        let mut column = vec![Dim::known(1); shape.rank()];
        column[0] = r.ty(positions).dim(0).clone();
        let positions = r.cast(positions, DType::I64)?;
        let positions = r.reshape(positions, Shape(column))?;
        offset = r.add(Sub, &[offset, positions])?;
        if circular {
            let length = r.dim_scalar(&shape.0[axis])?;
            let shifted = r.add(Add, &[offset, length])?;
            offset = r.add(Arithmetic { f: Binary::Mod }, &[shifted, length])?;
        }
    }
    let zero = r.add_scalar(0.0, DType::I64);
    let count = r.dim_scalar(&new.0[axis])?;
    let (is_begun, is_left) =
        (r.compare(Binary::LessOrEqual, zero, offset)?, r.compare(Binary::Less, offset, count)?);
    let is_new = r.compare(Binary::And, is_begun, is_left)?;
    let source = r.select(is_new, offset, zero)?;
    let source = r.add(Expand { to: shape }, &[source])?;
    let moved = elements::gather(r, update, source, axis)?;
    Ok(vec![r.select(is_new, moved, cache)?])
}
