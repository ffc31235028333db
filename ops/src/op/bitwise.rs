//! Functions of the bits of integers; they carry no relevance. Reads `BitwiseAnd`, `BitwiseOr`, `BitwiseXor`, `BitwiseNot` and
//! `BitShift`.

use super::read::{Reader, Reading};
use super::{Div, Gather, Mul};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{Array, DType, Tensor};

/// Returns the readers of the bitwise operators.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("BitwiseAnd", 18, |r| read(r, Binary::And)),
        Reader::new("BitwiseOr", 18, |r| read(r, Binary::Or)),
        Reader::new("BitwiseXor", 18, |r| read(r, Binary::Xor)),
        Reader::new("BitwiseNot", 18, |r| {
            let x = r.input(0)?;
            let dtype = integer(r, x)?;
            // Every bit of -1 is set.
            let all = constant(r, dtype, &[-1]);
            Ok(vec![r.compare(Binary::Xor, x, all)?])
        }),
        Reader::new("BitShift", 11, shift),
    ]
}

/// Returns the element type of an operand of integers.
fn integer(r: &Reading, x: Value) -> Result<DType, OpError> {
    let dtype = r.ty(x).dtype;
    if dtype.is_integer() { Ok(dtype) } else { Err(OpError::mismatch("element type", "an integer", dtype)) }
}

/// Adds a constant of integers: a scalar of one value, a vector of several.
fn constant(r: &mut Reading, dtype: DType, values: &[i64]) -> Value {
    let all = Array::from_tensor(&Tensor::from_i64(&[values.len()], values)).to_tensor(dtype);
    let scalar = if values.len() == 1 { all.with_dims(&[]) } else { None };
    r.add_constant(scalar.unwrap_or(all))
}

fn read(r: &mut Reading, f: Binary) -> Result<Vec<Value>, OpError> {
    let (a, b) = (r.input(0)?, r.input(1)?);
    integer(r, a)?;
    Ok(vec![r.compare(f, a, b)?])
}

/// Reads `BitShift` of unsigned integers: a product or a quotient with a power of two.
fn shift(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, count) = (r.input(0)?, r.input(1)?);
    let left = match r.string_or("direction", "")?.as_str() {
        "LEFT" => true,
        "RIGHT" => false,
        other => return Err(OpError::mismatch("direction", "LEFT or RIGHT", other)),
    };
    let dtype = r.ty(x).dtype;
    let bits = match dtype {
        DType::U8 => 8,
        DType::U16 => 16,
        DType::U32 => 32,
        other => {
            return Err(OpError::unsupported("element type", "unsigned integers of 8, 16 or 32 bits", other));
        }
    };
    // A shift by all bits or more leaves none.
    let (x, count) = (r.cast(x, DType::I64)?, r.cast(count, DType::I64)?);
    let largest = constant(r, DType::I64, &[bits]);
    let count = r.add(super::Extremum { max: false }, &[count, largest])?;
    let powers: Vec<i64> = (0..=bits).map(|n| 1 << n).collect();
    let powers = constant(r, DType::I64, &powers);
    let factor = r.add(Gather { axis: 0 }, &[powers, count])?;
    let shifted = if left { r.add(Mul, &[x, factor])? } else { r.add(Div, &[x, factor])? };
    let mask = constant(r, DType::I64, &[(1 << bits) - 1]);
    let shifted = r.compare(Binary::And, shifted, mask)?;
    Ok(vec![r.cast(shifted, dtype)?])
}
