//! Running products along an axis. Reads `CumProd` as products of the elements that each result includes.

use super::read::{Reader, Reading, resolve};
use super::{Reduce, ReduceKind, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{Dim, Shape};

/// Returns the reader of `CumProd`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("CumProd", 26, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, axis) = (r.input(0)?, r.input(1)?);
    let rank = r.ty(x).rank();
    let axis = match r.ints_of(axis, "axis")?.as_slice() {
        [axis] => resolve(*axis, rank)?,
        other => return Err(OpError::mismatch("axis", "one value", other.len())),
    };
    let (exclusive, reverse) = (r.flag("exclusive", false)?, r.flag("reverse", false)?);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(axis, rank - 1);
    let is_last = axis + 1 == rank;
    let x = if is_last { x } else { r.add(Transpose { perm: perm.clone() }, &[x])? };
    let ty = r.ty(x);
    // Element `i` stands in row `i`; it counts in column `j` if product `j` includes it, and is 1 elsewhere.
    let column = r.reshape(x, Shape([ty.shape.0.clone(), vec![Dim::known(1)]].concat()))?;
    let (from, to) = (r.count_along(ty.dim(rank - 1), 0, 2)?, r.count_along(ty.dim(rank - 1), 1, 2)?);
    let (lower, upper) = if reverse { (to, from) } else { (from, to) };
    let included = r.compare(if exclusive { Binary::Less } else { Binary::LessOrEqual }, lower, upper)?;
    let unit = r.add_scalar(1.0, ty.dtype);
    let factors = r.select(included, column, unit)?;
    let y = r.add(Reduce { kind: ReduceKind::Prod, axes: vec![rank - 1], keep: false }, &[factors])?;
    Ok(vec![if is_last { y } else { r.add(Transpose { perm }, &[y])? }])
}
