//! Sampling at computed positions between elements: indices and weights of [`Interpolate`](super::Interpolate).

use super::read::Reading;
use super::{Add, Cast, Compare, Concat, Expand, Extremum, Interpolate, Mul, Range, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Elements that each sample combines along one axis: int64 indices and weights, both `[n, samples, taps]`.
pub(super) struct Taps {
    pub indices: Value,
    pub weights: Value,
}

/// Adds a float32 scalar that equals a dimension.
pub(super) fn float_dim(r: &mut Reading, d: &Dim) -> Result<Value, OpError> {
    let d = r.dim_scalar(d)?;
    r.cast(d, DType::F32)
}

pub(super) fn scaled(r: &mut Reading, x: Value, factor: f64) -> Result<Value, OpError> {
    let factor = r.add_scalar(factor, DType::F32);
    r.add(Mul, &[x, factor])
}

pub(super) fn shifted(r: &mut Reading, x: Value, by: f64) -> Result<Value, OpError> {
    let by = r.add_scalar(by, DType::F32);
    r.add(Add, &[x, by])
}

/// Builds `min(max(x, 0), last)`, where `last` is a scalar.
pub(super) fn clamped(r: &mut Reading, x: Value, last: Value) -> Result<Value, OpError> {
    let zero = r.add_scalar(0.0, r.ty(x).dtype);
    let x = r.add(Extremum { max: true }, &[x, zero])?;
    r.add(Extremum { max: false }, &[x, last])
}

/// Builds a float32 mask: 1 where `low ≤ x ≤ high`, elsewhere 0.
pub(super) fn inside(r: &mut Reading, x: Value, low: Value, high: Value) -> Result<Value, OpError> {
    let below = |swap: bool| Compare { f: Some(Binary::LessOrEqual), swap };
    let (a, b) = (r.add(below(false), &[low, x])?, r.add(below(false), &[x, high])?);
    let both = r.compare(Binary::And, a, b)?;
    r.add(Cast { to: DType::F32 }, &[both])
}

/// Stacks values `[n, samples]` along a new last axis.
pub(super) fn stacked(r: &mut Reading, parts: &[Value]) -> Result<Value, OpError> {
    let mut columns = vec![];
    for part in parts {
        let mut shape = r.ty(*part).shape;
        shape.0.push(Dim::known(1));
        columns.push(r.reshape(*part, shape)?);
    }
    let axis = r.ty(columns[0]).rank() - 1;
    if columns.len() == 1 { Ok(columns[0]) } else { r.add(Concat { axis }, &columns) }
}

/// Samples `x [n, c, s₁, …]`: the taps of all spatial axes are combined, and `batch [n']` holds the batch index of each
/// row of taps. The result is `[n', samples, c]`.
pub(super) fn sample(r: &mut Reading, x: Value, batch: Value, taps: &[Taps]) -> Result<Value, OpError> {
    let rows = rows(r, x)?;
    let taps = combined(r, x, batch, taps)?;
    r.add(Interpolate { axes: vec![0] }, &[rows, taps.indices, taps.weights])
}

/// Moves the channels of `x [n, c, s₁, …]` to the last axis and flattens the others: `[n · s₁ · …, c]`.
pub(super) fn rows(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    let ty = r.ty(x);
    let perm: Vec<usize> = [0].into_iter().chain(2..ty.rank()).chain([1]).collect();
    let rows = r.add(Transpose { perm }, &[x])?;
    let count = &ty.shape.elems().floor_div(ty.dim(1));
    r.reshape(rows, Shape(vec![count.clone(), ty.dim(1).clone()]))
}

/// Combines the taps of all spatial axes of `x`: indices into [`rows`] and weights, `[n', samples, taps]`.
pub(super) fn combined(r: &mut Reading, x: Value, batch: Value, taps: &[Taps]) -> Result<Taps, OpError> {
    let ty = r.ty(x);
    let spatial = &ty.shape.0[2..];
    let (n, samples) = (r.ty(taps[0].indices).dim(0).clone(), r.ty(taps[0].indices).dim(1).clone());
    let unit = Dim::known(1);
    let column = Shape(vec![n.clone(), unit.clone(), unit.clone()]);
    let mut at = r.reshape(batch, column)?;
    let mut weights = None;
    let mut count = unit.clone();
    for (axis_taps, size) in taps.iter().zip(spatial) {
        let many = r.ty(axis_taps.indices).dim(2).clone();
        let (last, first) = (
            Shape(vec![n.clone(), samples.clone(), unit.clone(), many.clone()]),
            Shape(vec![n.clone(), r.ty(at).dim(1).clone(), count.clone(), unit.clone()]),
        );
        let size = r.dim_scalar(size)?;
        let row = r.add(Mul, &[at, size])?;
        let (row, column) = (r.reshape(row, first)?, r.reshape(axis_taps.indices, last.clone())?);
        at = r.add(Add, &[row, column])?;
        let column = r.reshape(axis_taps.weights, last)?;
        let product = match weights {
            None => column,
            Some(before) => {
                let shape = Shape(vec![n.clone(), samples.clone(), count.clone(), unit.clone()]);
                let before = r.reshape(before, shape)?;
                r.add(Mul, &[before, column])?
            }
        };
        count = &count * &many;
        let shape = Shape(vec![n.clone(), samples.clone(), count.clone()]);
        at = r.reshape(at, shape.clone())?;
        weights = Some(r.reshape(product, shape)?);
    }
    let weights = weights.ok_or_else(|| OpError::invalid("spatial axes", "at least 1", 0))?;
    Ok(Taps { indices: at, weights })
}

/// Adds the batch indices `0, 1, …, n - 1`.
pub(super) fn batches(r: &mut Reading, n: &Dim) -> Result<Value, OpError> {
    r.add(Range { start: Dim::known(0), step: 1, len: n.clone() }, &[])
}

/// Broadcasts a scalar or row to a shape.
pub(super) fn repeated(r: &mut Reading, x: Value, to: Shape) -> Result<Value, OpError> {
    if r.ty(x).shape == to { Ok(x) } else { r.add(Expand { to }, &[x]) }
}

/// Returns `x - ⌊x⌋` and `⌊x⌋`.
pub(super) fn fraction(r: &mut Reading, x: Value) -> Result<(Value, Value), OpError> {
    let floor = r.unary(Unary::Floor, x)?;
    Ok((r.add(Sub, &[x, floor])?, floor))
}
