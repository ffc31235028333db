//! Functions of the bits of integers; they carry no relevance. Reads `BitwiseAnd`, `BitwiseOr`, `BitwiseXor` and `BitwiseNot`.

use super::read::{Reader, Reading};
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
