//! Indicator of the first maximum along an axis; carries no relevance. Reads `Hardmax`.

use super::Arg;
use super::read::{Reader, Reading, resolve};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;

/// Returns the reader of `Hardmax`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Hardmax", 1, read)]
}

/// Reads `Hardmax`. Up to opset 12 the operand is flattened to a matrix at `axis`, 1 by default.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let ty = r.ty(x);
    if r.opset >= 13 {
        let axis = resolve(r.int_or("axis", -1)?, ty.rank())?;
        return Ok(vec![indicator(r, x, axis)?]);
    }
    let axis = resolve(r.int_or("axis", 1)?, ty.rank())?;
    let flat = r.flatten(x, axis)?;
    let y = indicator(r, flat, 1)?;
    Ok(vec![r.reshape(y, ty.shape)?])
}

fn indicator(r: &mut Reading, x: Value, axis: usize) -> Result<Value, OpError> {
    let ty = r.ty(x);
    let first = r.add(Arg { max: true, axis, keep: true }, &[x])?;
    let index = r.count_along(ty.dim(axis), axis, ty.rank())?;
    let is_first = r.compare(Binary::Equal, index, first)?;
    r.cast(is_first, ty.dtype)
}
