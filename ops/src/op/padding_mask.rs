//! Masks of the attention operators of com.microsoft: padding in its several forms, and causality.

use super::Range;
use super::read::Reading;
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Sizes of an attention.
pub struct Sizes {
    /// Rows of the batch.
    pub batch: Dim,
    /// Queries of a row.
    pub queries: Dim,
    /// Keys of a row, with those of the past.
    pub keys: Dim,
    /// Keys of the past.
    pub past: Dim,
}

/// Reads the masks that are added to the scores: `mask_filter_value` at padding, and the lowest float at later positions if attribute
/// `unidirectional` is set.
pub fn masks(r: &mut Reading, padding: Option<Value>, sizes: &Sizes) -> Result<Vec<Value>, OpError> {
    let filter = f64::from(r.float_or("mask_filter_value", -10000.0)?);
    let mut masks = vec![];
    let keep = padding.map(|padding| kept_keys(r, padding, sizes)).transpose()?.flatten();
    if let Some(keep) = keep {
        let (zero, filter) = (r.add_scalar(0.0, DType::F32), r.add_scalar(filter, DType::F32));
        masks.push(r.select(keep, zero, filter)?);
    }
    if r.flag("unidirectional", false)? {
        let row = r.add(Range { start: sizes.past.clone(), step: 1, len: sizes.queries.clone() }, &[])?;
        let row = r.reshape(row, Shape(vec![sizes.queries.clone(), Dim::known(1)]))?;
        let column = r.count_along(&sizes.keys, 1, 2)?;
        let seen = r.compare(Binary::LessOrEqual, column, row)?;
        let (zero, lowest) = (r.add_scalar(0.0, DType::F32), r.add_scalar(f64::from(f32::MIN), DType::F32));
        masks.push(r.select(seen, zero, lowest)?);
    }
    Ok(masks)
}

/// Returns the keys that a padding mask keeps, a boolean tensor that broadcasts to `[batch, heads, queries, keys]`; `None` for all. The mask
/// has a number for each key `[batch, keys]` or for each pair `[batch, queries, keys]`, or the number of keys of each row `[batch]` or
/// `[3 batch + 2]`, or the end and the start of each row's keys `[2 batch]`. One number for each row `[batch, 1]` masks nothing.
fn kept_keys(r: &mut Reading, mask: Value, sizes: &Sizes) -> Result<Option<Value>, OpError> {
    let mask = r.cast(mask, DType::I64)?;
    let d = r.ty(mask).shape.0;
    let (unit, batch) = (Dim::known(1), &sizes.batch);
    let by_pair = match d.as_slice() {
        [rows] => return kept_by_ends(r, mask, rows, sizes).map(Some),
        [_, column] if column.is(1) => return Ok(None),
        [rows, keys] => [rows.clone(), unit.clone(), unit, keys.clone()],
        [rows, queries, keys] => [rows.clone(), unit, queries.clone(), keys.clone()],
        _ => return Err(OpError::unsupported("rank of the mask", "1 to 3", d.len())),
    };
    if by_pair[0] != *batch {
        return Err(OpError::dims("rows of the mask", batch, &by_pair[0]));
    }
    let mask = r.reshape(mask, Shape(by_pair.to_vec()))?;
    let zero = r.add_scalar(0.0, DType::I64);
    r.compare(Binary::Less, zero, mask).map(Some)
}

/// Returns the keys before the end of each row, and behind its start if the mask has both.
fn kept_by_ends(r: &mut Reading, mask: Value, rows: &Dim, sizes: &Sizes) -> Result<Value, OpError> {
    let (unit, batch) = (Dim::known(1), &sizes.batch);
    let (double, all) = (batch * &Dim::known(2), &(batch * &Dim::known(3)) + &Dim::known(2));
    if rows != batch && *rows != double && *rows != all {
        return Err(OpError::dims("rows of the mask", batch, rows));
    }
    let column = r.count_along(&sizes.keys, 3, 4)?;
    let numbers = |r: &mut Reading, start: Dim| -> Result<Value, OpError> {
        let part = r.slice(mask, 0, start, batch.clone())?;
        r.reshape(part, Shape(vec![batch.clone(), unit.clone(), unit.clone(), unit.clone()]))
    };
    let end = numbers(r, Dim::known(0))?;
    let before_end = r.compare(Binary::Less, column, end)?;
    if *rows != double {
        return Ok(before_end);
    }
    let start = numbers(r, batch.clone())?;
    let behind_start = r.compare(Binary::LessOrEqual, start, column)?;
    r.compare(Binary::And, before_end, behind_start)
}
