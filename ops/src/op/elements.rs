//! Access to single elements by their index along one axis, computed on rows of the flattened data. Reads
//! `GatherElements` and `ScatterElements`.
//!
//! Shapes: data `[d₀, …]`, indices of the same rank, the result (or the updates) of the indices' shape.

use super::read::{Reader, Reading, resolve};
use super::scatter_rows::combine;
use super::{Add, Gather, Mul, Op, Range};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Index that is out of range even after strides are added: it replaces indices that are out of range, so that the
/// look-up refuses them.
const NOWHERE: i64 = -(1 << 60);

/// Returns the readers of `GatherElements`, `ScatterElements` and `Scatter`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("GatherElements", 11, |r| {
            let (data, indices) = (r.input(0)?, r.input(1)?);
            let axis = resolve(r.int_or("axis", 0)?, r.ty(data).rank())?;
            Ok(vec![gather(r, data, indices, axis)?])
        }),
        Reader::new("ScatterElements", 11, scatter),
        Reader { domain: "", op: "Scatter", since: 9, until: 10, read: scatter },
    ]
}

/// Resolves indices to `0..dim`, int64: negative ones count from the end, and those out of range become [`NOWHERE`].
pub(super) fn resolved(r: &mut Reading, indices: Value, dim: &Dim) -> Result<Value, OpError> {
    let less = |swap: bool| super::Compare { f: Some(Binary::Less), swap };
    let at = r.add(super::Cast { to: DType::I64 }, &[indices])?;
    let (zero, nowhere) = (r.add_scalar(0.0, DType::I64), r.add_scalar(NOWHERE as f64, DType::I64));
    let dim = r.add_dims(vec![], vec![dim.clone()])?;
    let negative = r.add(less(false), &[at, zero])?;
    let from_end = r.add(Add, &[at, dim])?;
    let at = r.add(super::Select, &[negative, from_end, at])?;
    let below = r.add(less(false), &[at, zero])?;
    let inside = r.add(less(false), &[at, dim])?;
    let at = r.add(super::Select, &[inside, at, nowhere])?;
    r.add(super::Select, &[below, nowhere, at])
}

/// Returns the offset in the flattened data of each element that `indices` address along `axis`,
/// `[elements of indices]`.
fn offsets(r: &mut Reading, indices: Value, data: &Shape, axis: usize) -> Result<Value, OpError> {
    let ty = r.ty(indices);
    if !ty.dtype.is_integer() {
        return Err(OpError::mismatch("indices", "integers", ty.dtype));
    }
    if ty.rank() != data.rank() {
        return Err(OpError::mismatch("rank of indices", data.rank(), &ty));
    }
    let mut strides = vec![Dim::known(1); data.rank()];
    for k in (1..data.rank()).rev() {
        strides[k - 1] = &strides[k] * &data.0[k];
    }
    let mut sum = resolved(r, indices, &data.0[axis])?;
    if !strides[axis].is(1) {
        let stride = r.add_dims(vec![], vec![strides[axis].clone()])?;
        sum = r.add(Mul, &[sum, stride])?;
    }
    for (k, stride) in strides.iter().enumerate() {
        if k == axis || ty.dim(k).is(1) {
            continue;
        }
        let mut column = vec![Dim::known(1); data.rank()];
        column[k] = ty.dim(k).clone();
        let mut term = r.add(Range { start: Dim::known(0), step: 1, len: ty.dim(k).clone() }, &[])?;
        term = r.reshape(term, Shape(column))?;
        if !stride.is(1) {
            let stride = r.add_dims(vec![], vec![stride.clone()])?;
            term = r.add(Mul, &[term, stride])?;
        }
        sum = r.add(Add, &[sum, term])?;
    }
    r.reshape(sum, Shape(vec![ty.shape.elems()]))
}

/// Returns the elements of `data` that `indices` address along `axis`.
pub(super) fn gather(r: &mut Reading, data: Value, indices: Value, axis: usize) -> Result<Value, OpError> {
    let (shape, to) = (r.ty(data).shape, r.ty(indices).shape);
    let at = offsets(r, indices, &shape, axis)?;
    let flat = r.reshape(data, Shape(vec![shape.elems()]))?;
    let y = r.add(Gather { axis: 0 }, &[flat, at])?;
    r.reshape(y, to)
}

fn scatter(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (data, indices, updates) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (shape, updates_shape) = (r.ty(data).shape, r.ty(updates).shape);
    let axis = resolve(r.int_or("axis", 0)?, shape.rank())?;
    let reduction = r.string_or("reduction", "none")?;
    if updates_shape != r.ty(indices).shape {
        return Err(OpError::shapes("shape of updates", &r.ty(indices).shape, &updates_shape));
    }
    let (rows, at, row) = match whole_rows(r, indices, &shape, axis)? {
        // Each index addresses a row of the data.
        Some(at) => {
            let inner = shape.0[1..].to_vec();
            (shape.0[0].clone(), at, inner)
        }
        None => (shape.elems(), offsets(r, indices, &shape, axis)?, vec![]),
    };
    let flat = |lead: Dim| Shape([vec![lead], row.clone()].concat());
    let count = r.ty(at).dim(0).clone();
    let data = r.reshape(data, flat(rows.clone()))?;
    let updates = r.reshape(updates, flat(count))?;
    let y = combine(r, &reduction, data, at, updates, rows)?;
    Ok(vec![r.reshape(y, shape)?])
}

/// Returns the row of each update if the indices are a column that was broadcast over whole rows.
fn whole_rows(r: &mut Reading, indices: Value, data: &Shape, axis: usize) -> Result<Option<Value>, OpError> {
    let ty = r.ty(indices);
    if axis != 0 || ty.rank() < 2 || ty.rank() != data.rank() || ty.shape.0[1..] != data.0[1..] {
        return Ok(None);
    }
    if !matches!(r.graph.op(indices.node), Op::Expand(_)) {
        return Ok(None);
    }
    let column = r.graph.node_inputs(indices.node)[0];
    let from = r.ty(column).shape;
    if from.rank() != ty.rank() || from.0[0] != *ty.dim(0) || from.0[1..].iter().any(|d| !d.is(1)) {
        return Ok(None);
    }
    let column = r.reshape(column, Shape(vec![ty.dim(0).clone()]))?;
    r.add(super::Cast { to: DType::I64 }, &[column]).map(Some)
}
