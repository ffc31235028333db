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

/// `data` with its rows at `indices` replaced; the last update of a row counts.
pub(super) fn overwrite(data: &Array, indices: &Array, updates: &Array) -> Result<Array, OpError> {
    let indices = resolved(indices, 0, data.dims()[0])?;
    match (data, updates) {
        (Array::F(x), Array::F(u)) => replaced(x, &indices, u).map(Array::F),
        (Array::I(x), Array::I(u)) => replaced(x, &indices, u).map(Array::I),
        (Array::B(x), Array::B(u)) => replaced(x, &indices, u).map(Array::B),
        _ => Err(wrong_kind("the element type of data", updates)),
    }
}

fn replaced<T: Clone>(x: &ArrayD<T>, indices: &[usize], u: &ArrayD<T>) -> Result<ArrayD<T>, OpError> {
    let inner: usize = x.shape()[1..].iter().product();
    let mut out = values(x).to_vec();
    for (row, index) in values(u).chunks(inner.max(1)).zip(indices) {
        out[index * inner..][..inner].clone_from_slice(row);
    }
    array(x.shape(), out)
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
