//! Indexing along an axis.

use ndarray::ArrayD;

use super::layout::{Number, Table, around, array, elems, identity, integer, values, wrong_kind};
use super::movement::picked;
use crate::OpError;
use crate::tensor::Array;

/// The indices, resolved: negative ones count from the end.
fn resolved(indices: &Array, axis: usize, dim: usize) -> Result<Vec<usize>, OpError> {
    let resolve = |index: &i64| {
        let from_start = if *index < 0 { index.saturating_add(dim as i64) } else { *index };
        usize::try_from(from_start).ok().filter(|i| *i < dim).ok_or_else(|| {
            OpError::Invalid(format!("index {index} is out of range for axis {axis} of dimension {dim}"))
        })
    };
    values(integer(indices)?).iter().map(resolve).collect()
}

/// The elements of `data` at `indices` along `axis`; `dims` are the result's.
pub(super) fn gather(axis: usize, data: &Array, indices: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let indices = resolved(indices, axis, data.dims()[axis])?;
    let mut tables = identity(data.dims());
    tables[axis] = indices.into_iter().map(|i| tables[axis][i]).collect::<Table>();
    picked(data, &tables, 0.0, dims)
}

/// Zeros of `dims` plus each update at its index along `axis`.
pub(super) fn scatter_add(
    axis: usize,
    updates: &Array,
    indices: &Array,
    dims: &[usize],
) -> Result<Array, OpError> {
    let indices = resolved(indices, axis, dims[axis])?;
    match updates {
        Array::F(x) => added(axis, x, &indices, dims).map(Array::F),
        Array::I(x) => added(axis, x, &indices, dims).map(Array::I),
        Array::B(_) => Err(wrong_kind("a number type", updates)),
    }
}

fn added<T: Number>(
    axis: usize,
    x: &ArrayD<T>,
    indices: &[usize],
    dims: &[usize],
) -> Result<ArrayD<T>, OpError> {
    let (outer, dim, inner) = around(dims, axis);
    let mut out = vec![T::ZERO; elems(dims)?];
    let x = values(x);
    for o in 0..outer {
        for (j, index) in indices.iter().enumerate() {
            for i in 0..inner {
                let at = (o * dim + index) * inner + i;
                out[at] = out[at].plus(x[(o * indices.len() + j) * inner + i]);
            }
        }
    }
    array(dims, out)
}
