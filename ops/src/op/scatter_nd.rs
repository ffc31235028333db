//! Copy of the data with slices replaced by updates, or combined with them. Reads `ScatterND`.
//!
//! Shapes: data `[d₀, …]`, indices `[…, k]` (the first `k` axes of data), updates `[…, d_k, …]`.

use super::elements::resolved;
use super::read::{Reader, Reading};
use super::scatter_rows::combine;
use super::{Add, Mul};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `ScatterND`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("ScatterND", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (data, indices, updates) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let reduction = r.string_or("reduction", "none")?;
    let (d, i, u) = (r.ty(data), r.ty(indices), r.ty(updates));
    if !i.dtype.is_integer() {
        return Err(OpError::mismatch("indices", "integers", i.dtype));
    }
    let depth = i.shape.0.last().and_then(Dim::as_known).and_then(|k| usize::try_from(k).ok());
    let Some(depth) = depth.filter(|k| *k <= d.rank()) else {
        return Err(OpError::mismatch("last dimension of indices", format!("at most {}", d.rank()), &i));
    };
    let lead = Shape(i.shape.0[..i.rank() - 1].to_vec());
    let rest = Shape(d.shape.0[depth..].to_vec());
    let expected = Shape([lead.0.clone(), rest.0.clone()].concat());
    if u.shape != expected {
        return Err(OpError::shapes("shape of updates", &expected, &u.shape));
    }
    let flat = |rows: Dim| Shape([vec![rows], rest.0.clone()].concat());
    let rows = d.shape.0[..depth].iter().fold(Dim::known(1), |n, d| &n * d);
    let count = lead.elems();
    let at = row_of(r, indices, &d.shape.0[..depth], &count)?;
    let rows_of_data = r.reshape(data, flat(rows.clone()))?;
    let updates = r.reshape(updates, flat(count))?;
    let y = combine(r, &reduction, rows_of_data, at, updates, rows)?;
    Ok(vec![r.reshape(y, d.shape)?])
}

/// Returns the row that each index vector addresses, `[count]`; negative indices count from the end, and the row of an
/// index that is out of range is invalid.
pub(super) fn row_of(r: &mut Reading, indices: Value, dims: &[Dim], count: &Dim) -> Result<Value, OpError> {
    let depth = Dim::known(dims.len() as i64);
    let matrix = r.add(super::Cast { to: DType::I64 }, &[indices])?;
    let matrix = r.reshape(matrix, Shape(vec![count.clone(), depth]))?;
    let mut sum = None;
    let mut stride = Dim::known(1);
    for (k, dim) in dims.iter().enumerate().rev() {
        let column = super::Slice { axis: 1, start: Dim::known(k as i64), len: Dim::known(1), step: 1 };
        let term = r.add(column, &[matrix])?;
        let term = r.reshape(term, Shape(vec![count.clone()]))?;
        let mut term = resolved(r, term, dim)?;
        if !stride.is(1) {
            let stride = r.add_dims(vec![], vec![stride.clone()])?;
            term = r.add(Mul, &[term, stride])?;
        }
        sum = Some(match sum {
            None => term,
            Some(sum) => r.add(Add, &[sum, term])?,
        });
        stride = &stride * dim;
    }
    match sum {
        Some(sum) => Ok(sum),
        // Empty index vectors address the whole data.
        None => {
            let zero = r.add_scalar(0.0, DType::I64);
            r.add(super::Expand { to: Shape(vec![count.clone()]) }, &[zero])
        }
    }
}
