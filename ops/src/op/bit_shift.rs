//! Shifts of the bits of integers; they carry no relevance. Reads `BitShift` as products and quotients with powers of two.
//!
//! Signed integers shift as two's complement: right shifts repeat the sign. Integers wrap at 64 bits.

use super::read::{Reader, Reading};
use super::{Div, Extremum, Gather, Mul, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Tensor};

/// Returns the reader of `BitShift`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("BitShift", 11, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, count) = (r.input(0)?, r.input(1)?);
    let left = match r.string_or("direction", "")?.as_str() {
        "LEFT" => true,
        "RIGHT" => false,
        other => return Err(OpError::mismatch("direction", "LEFT or RIGHT", other)),
    };
    let dtype = r.ty(x).dtype;
    if !dtype.is_integer() {
        return Err(OpError::mismatch("element type", "an integer", dtype));
    }
    let bits = 8 * dtype.size_bytes() as i64;
    let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let (x, count) = (r.cast(x, DType::I64)?, r.cast(count, DType::I64)?);
    // A shift by all bits or more, or by a negative number, is one by all bits, as in NumPy.
    let (all, zero) = (scalar(r, bits), scalar(r, 0));
    let count = r.add(Extremum { max: false }, &[count, all])?;
    let is_negative = r.compare(Binary::Less, count, zero)?;
    let count = r.select(is_negative, all, count)?;
    let shifted = match (left, dtype) {
        (true, _) => by_halves(r, x, count, |r, x, factor| r.add(Mul, &[x, factor]))?,
        (false, DType::U64) => right_unsigned(r, x, count)?,
        (false, _) => right(r, x, count)?,
    };
    let wrapped = if left && bits < 64 { wrap(r, shifted, bits, signed)? } else { shifted };
    Ok(vec![r.cast(wrapped, dtype)?])
}

fn scalar(r: &mut Reading, value: i64) -> Value {
    r.add_constant(Tensor::from_i64(&[], &[value]))
}

/// Applies a step for half of the bits and one for the rest: the factors of a shift by 64 bits do not fit into 64 bits.
fn by_halves(
    r: &mut Reading,
    x: Value,
    count: Value,
    step: impl Fn(&mut Reading, Value, Value) -> Result<Value, OpError>,
) -> Result<Value, OpError> {
    let powers: Vec<i64> = (0..=32).map(|n| 1 << n).collect();
    let powers = r.add_constant(Tensor::from_i64(&[powers.len()], &powers));
    let two = scalar(r, 2);
    let half = r.add(Div, &[count, two])?;
    let rest = r.add(Sub, &[count, half])?;
    let mut x = x;
    for part in [half, rest] {
        let factor = r.add(Gather { axis: 0 }, &[powers, part])?;
        x = step(r, x, factor)?;
    }
    Ok(x)
}

/// Divides by powers of two and rounds down. Division of integers rounds towards 0, so the remainder is removed first.
fn right(r: &mut Reading, x: Value, count: Value) -> Result<Value, OpError> {
    by_halves(r, x, count, |r, x, factor| {
        let unit = scalar(r, 1);
        let mask = r.add(Sub, &[factor, unit])?;
        let rest = r.compare(Binary::And, x, mask)?;
        let whole = r.add(Sub, &[x, rest])?;
        r.add(Div, &[whole, factor])
    })
}

/// Shifts unsigned integers of 64 bits, which int64 represents: the first shift clears the sign.
fn right_unsigned(r: &mut Reading, x: Value, count: Value) -> Result<Value, OpError> {
    let (zero, unit, largest) = (scalar(r, 0), scalar(r, 1), scalar(r, i64::MAX));
    let first = right(r, x, unit)?;
    let cleared = r.compare(Binary::And, first, largest)?;
    let rest = r.add(Sub, &[count, unit])?;
    let rest = r.add(Extremum { max: true }, &[rest, zero])?;
    let shifted = right(r, cleared, rest)?;
    let stays = r.compare(Binary::Equal, count, zero)?;
    r.select(stays, x, shifted)
}

/// Returns the number that the lowest `bits` of `x` represent.
fn wrap(r: &mut Reading, x: Value, bits: i64, signed: bool) -> Result<Value, OpError> {
    let mask = scalar(r, (1 << bits) - 1);
    let low = r.compare(Binary::And, x, mask)?;
    if !signed {
        return Ok(low);
    }
    let (half, whole) = (scalar(r, 1 << (bits - 1)), scalar(r, 1 << bits));
    let positive = r.compare(Binary::Less, low, half)?;
    let negative = r.add(Sub, &[low, whole])?;
    r.select(positive, low, negative)
}
