//! Updates that replace rows of the data or are combined with them: what `ScatterND` and `ScatterElements` share.
//!
//! For a maximum, a minimum and a product every update stands against every row, so that memory is rows × updates × columns.

use super::read::Reading;
use super::{Add, Extremum, Mul, Overwrite, ReduceKind, ScatterAdd};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Returns `data` with its rows `at` replaced by `updates`, or with `updates` combined with them.
pub(super) fn combine(
    r: &mut Reading,
    reduction: &str,
    data: Value,
    at: Value,
    updates: Value,
    rows: Dim,
) -> Result<Value, OpError> {
    match reduction {
        "none" => r.add(Overwrite, &[data, at, updates]),
        "add" => {
            let added = r.add(ScatterAdd { to: rows }, &[updates, at])?;
            r.add(Add, &[data, added])
        }
        other => match Combination::of(other) {
            Some(f) => by_comparison(r, f, data, at, updates, &rows),
            None => Err(OpError::mismatch("reduction", "none, add, mul, max or min", other)),
        },
    }
}

/// Reduction of updates and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combination {
    /// Largest value.
    Max,
    /// Smallest value.
    Min,
    /// Product.
    Mul,
}

impl Combination {
    /// Returns the combination of the attribute `reduction`.
    fn of(name: &str) -> Option<Combination> {
        match name {
            "max" => Some(Combination::Max),
            "min" => Some(Combination::Min),
            "mul" => Some(Combination::Mul),
            _ => None,
        }
    }

    /// Returns the value that changes nothing.
    fn neutral(self, dtype: DType) -> f64 {
        let (smallest, largest) = match dtype {
            DType::U8 => (0.0, f64::from(u8::MAX)),
            DType::I8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
            DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            // A float64 does not hold the largest int64: 2^62 is beyond all indices and counts.
            dtype if dtype.is_integer() => (-(2f64.powi(62)), 2f64.powi(62)),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        match self {
            Combination::Max => smallest,
            Combination::Min => largest,
            Combination::Mul => 1.0,
        }
    }
}

/// Returns `data [rows, …]` combined with the `updates [m, …]` at the rows `at [m]`.
fn by_comparison(
    r: &mut Reading,
    f: Combination,
    data: Value,
    at: Value,
    updates: Value,
    rows: &Dim,
) -> Result<Value, OpError> {
    let ty = r.ty(updates);
    let (count, rank) = (ty.dim(0).clone(), ty.rank());
    let row = ty.shape.0[1..].to_vec();
    let column = |first: &[Dim]| Shape([first.to_vec(), vec![Dim::known(1); rank - 1]].concat());
    let index = r.count_along(rows, 0, rank + 1)?;
    let writer = r.cast(at, DType::I64)?;
    let writer = r.reshape(writer, column(&[Dim::known(1), count.clone()]))?;
    let writes = r.compare(Binary::Equal, index, writer)?;
    let updates = r.reshape(updates, Shape([vec![Dim::known(1), count.clone()], row].concat()))?;
    let neutral = r.add_scalar(f.neutral(ty.dtype), ty.dtype);
    let spread = r.select(writes, updates, neutral)?;
    let kind = match f {
        Combination::Max => ReduceKind::Max,
        Combination::Min => ReduceKind::Min,
        Combination::Mul => ReduceKind::Prod,
    };
    let reduced = r.reduce(kind, spread, &[1])?;
    let shape = r.ty(data).shape;
    let reduced = r.reshape(reduced, shape)?;
    let combined = match f {
        Combination::Mul => r.add(Mul, &[data, reduced])?,
        _ => r.add(Extremum { max: f == Combination::Max }, &[data, reduced])?,
    };
    // The count of updates refuses rows out of range, and keeps rows without an update as they are.
    let unit = r.add_scalar(1.0, DType::F32);
    let ones = r.add(super::Expand { to: Shape(vec![count]) }, &[unit])?;
    let hits = r.add(ScatterAdd { to: rows.clone() }, &[ones, at])?;
    let hits = r.reshape(hits, column(std::slice::from_ref(rows)))?;
    let zero = r.add_scalar(0.0, DType::F32);
    let is_hit = r.compare(Binary::Less, zero, hits)?;
    r.select(is_hit, combined, data)
}
