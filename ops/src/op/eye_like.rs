//! Matrix with ones on a diagonal. Reads `EyeLike` as ranges and a comparison.

use super::read::{Reader, Reading};
use super::{Cast, Compare, Range};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{Dim, Shape};

/// Returns the reader of `EyeLike`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("EyeLike", 9, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let ty = r.ty(r.input(0)?);
    let [rows, columns] = ty.shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of the operand", 2, ty.rank()));
    };
    let dtype = r.int("dtype")?.map(super::element_type).transpose()?.unwrap_or(ty.dtype);
    let k = r.int_or("k", 0)?;
    let range = |r: &mut Reading, start: i64, len: &Dim| {
        r.add(Range { start: Dim::known(start), step: 1, len: len.clone() }, &[])
    };
    let row = range(r, k, rows)?;
    let row = r.reshape(row, Shape(vec![rows.clone(), Dim::known(1)]))?;
    let column = range(r, 0, columns)?;
    let on_diagonal = r.add(Compare { f: Some(Binary::Equal), swap: false }, &[row, column])?;
    Ok(vec![r.add(Cast { to: dtype }, &[on_diagonal])?])
}
