//! Reads `GatherND` as a [`Gather`](super::Gather) of rows, and `OneHot` as a comparison of indices with a range.
//!
//! Shapes: data `[b…, d₀, …]`, indices `[b…, …, k]` (the first `k` axes of data after the batch), result
//! `[b…, …, d_k, …]`.

use super::elements::resolved;
use super::read::{Reader, Reading, resolve};
use super::scatter_nd::row_of;
use super::{Add, Gather, Mul, Range};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Returns the readers of `GatherND` and `OneHot`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("GatherND", 11, gather_nd), Reader::new("OneHot", 9, one_hot)]
}

fn gather_nd(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (data, indices) = (r.input(0)?, r.input(1)?);
    let (d, i) = (r.ty(data), r.ty(indices));
    let batch = r.int_or("batch_dims", 0)?;
    let rank = d.rank().min(i.rank());
    let expected = || format!("at least 0 and below the smaller rank {rank}");
    let batch = usize::try_from(batch)
        .ok()
        .filter(|b| *b < rank)
        .ok_or_else(|| OpError::invalid("batch_dims", expected(), batch))?;
    if d.shape.0[..batch] != i.shape.0[..batch] {
        let (expected, actual) = (Shape(d.shape.0[..batch].to_vec()), Shape(i.shape.0[..batch].to_vec()));
        return Err(OpError::shapes("batch of indices", &expected, &actual));
    }
    if !i.dtype.is_integer() {
        return Err(OpError::mismatch("indices", "integers", i.dtype));
    }
    let depth = i.shape.0.last().and_then(Dim::as_known).and_then(|k| usize::try_from(k).ok());
    let Some(depth) = depth.filter(|k| (1..=d.rank() - batch).contains(k)) else {
        return Err(OpError::mismatch("last dimension of indices", format!("1 to {}", d.rank() - batch), &i));
    };
    let product = |dims: &[Dim]| dims.iter().fold(Dim::known(1), |n, d| &n * d);
    let (batch_size, indexed) = (product(&d.shape.0[..batch]), &d.shape.0[batch..batch + depth]);
    let rest = &d.shape.0[batch + depth..];
    let lead = &i.shape.0[..i.rank() - 1];
    let count = product(lead);
    let mut at = row_of(r, indices, indexed, &count)?;
    let rows = product(indexed);
    if batch > 0 {
        let per_batch = product(&lead[batch..]);
        let element = r.add(Range { start: Dim::known(0), step: 1, len: batch_size.clone() }, &[])?;
        let element = r.reshape(element, Shape(vec![batch_size.clone(), Dim::known(1)]))?;
        let size = r.add_dims(vec![], vec![rows.clone()])?;
        let offset = r.add(Mul, &[element, size])?;
        at = r.reshape(at, Shape(vec![batch_size.clone(), per_batch]))?;
        at = r.add(Add, &[at, offset])?;
        at = r.reshape(at, Shape(vec![count]))?;
    }
    let flat = r.reshape(data, Shape([&[&batch_size * &rows], rest].concat()))?;
    let y = r.add(Gather { axis: 0 }, &[flat, at])?;
    Ok(vec![r.reshape(y, Shape([lead, rest].concat()))?])
}

/// Reads `OneHot`: `values[1]` at the position of the index along a new axis, `values[0]` elsewhere and for indices out
/// of range.
fn one_hot(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (indices, depth, values) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let mut shape = r.ty(indices).shape;
    let rank = shape.rank() + 1;
    let axis = r.int_or("axis", -1)?;
    let axis = resolve(axis, rank)?;
    let depth = match r.ty(depth).dtype.is_integer() {
        true => r.dims_of(depth, "depth")?,
        false => r.floats_of(depth, "depth")?.into_iter().map(|d| Dim::known(d as i64)).collect(),
    };
    let [depth] = depth.as_slice() else {
        return Err(OpError::mismatch("depth", "one value", depth.len()));
    };
    shape.0.insert(axis, Dim::known(1));
    let at = resolved(r, indices, depth)?;
    let at = r.reshape(at, shape)?;
    let mut column = vec![Dim::known(1); rank];
    column[axis] = depth.clone();
    let positions = r.add(Range { start: Dim::known(0), step: 1, len: depth.clone() }, &[])?;
    let positions = r.reshape(positions, Shape(column))?;
    let equal = r.add(super::Compare { f: Some(Binary::Equal), swap: false }, &[at, positions])?;
    let value = |r: &mut Reading, k: i64| -> Result<Value, OpError> {
        let slice = super::Slice { axis: 0, start: Dim::known(k), len: Dim::known(1), step: 1 };
        let v = r.add(slice, &[values])?;
        r.reshape(v, Shape(vec![]))
    };
    let (off, on) = (value(r, 0)?, value(r, 1)?);
    if r.ty(off).dtype == DType::Bool {
        return Err(OpError::unsupported("element type of values", "numbers", "bool"));
    }
    Ok(vec![r.add(super::Select, &[equal, on, off])?])
}
