//! Conversion of the element type. Reads `Cast` and `CastLike`.

use super::dequantise::quantised_number;
use super::grid::Overflow;
use super::quantisation::{Steps, on_grid};
use super::read::{Narrow, Reader, Reading};
use super::role::Role;
use super::{Add, Arithmetic, Grid, Operator, QuantisedType, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Unary};
use crate::tensor::DType;

/// Conversion of the element type.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// Element type of the result.
    pub to: DType,
}

impl Operator for Cast {
    fn attributes(&self) -> String {
        format!(" to={}", self.to)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.cast(inputs[0], self.to)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Elementwise
    }
}

/// Returns the readers of `Cast` and `CastLike`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Cast", 1, |r| {
            if r.opset < 6 {
                let name = r.string_or("to", "")?;
                let to = by_name(&name)?;
                return cast(r, to);
            }
            let code = r.int("to")?.ok_or_else(|| OpError::missing_attribute("to", "an element type"))?;
            match Narrow::of_code(code) {
                Some(narrow) => to_narrow(r, narrow),
                None => {
                    let to = dtype(code)?;
                    cast(r, to)
                }
            }
        }),
        Reader::new("CastLike", 15, |r| {
            let like = r.input(1)?;
            match r.narrow(like) {
                Some(narrow) => to_narrow(r, narrow),
                None => {
                    let to = r.ty(like).dtype;
                    cast(r, to)
                }
            }
        }),
    ]
}

fn cast(r: &mut Reading, to: DType) -> Result<Vec<Value>, OpError> {
    r.ignore(&["saturate", "round_mode"]);
    let x = r.input(0)?;
    if to.is_float() {
        let x = quantised_number(r, x)?.unwrap_or(x);
        return Ok(vec![rounded(r, x, to)?]);
    }
    Ok(vec![r.cast(x, to)?])
}

/// Adds the conversion to a type that tensors do not have, held by one that they have.
fn to_narrow(r: &mut Reading, to: Narrow) -> Result<Vec<Value>, OpError> {
    r.ignore(&["round_mode"]);
    let x = r.input(0)?;
    let QuantisedType { grid, dtype } = to.quantised_type();
    if let Grid::Whole { low, high } = grid {
        r.ignore(&["saturate"]);
        return Ok(vec![low_bits(r, x, (low, high), dtype)?]);
    }
    if to == Narrow::F8E8M0 {
        return unsupported("powers of 2").map(|_| vec![]);
    }
    let saturates = r.flag("saturate", true)?;
    let mut x = quantised_number(r, x)?.unwrap_or(x);
    x = r.cast(x, DType::F32)?;
    if to == Narrow::F4E2M1 {
        // The type has no NaN.
        let is_number = r.compare(Binary::Equal, x, x)?;
        let zero = r.add_scalar(0.0, DType::F32);
        x = r.select(is_number, x, zero)?;
    }
    let scale = r.add_scalar(1.0, DType::F32);
    let y = on_grid(r, x, Steps { scale, zero: None }, grid)?;
    match grid.overflow().filter(|_| !saturates && to != Narrow::F4E2M1) {
        None => Ok(vec![y]),
        Some(limit) => Ok(vec![overflowing(r, x, y, limit, to)?]),
    }
}

/// Adds the choice of infinity or NaN, whichever the type has, where `x` does not round to a number of it, else of `y`.
fn overflowing(r: &mut Reading, x: Value, y: Value, limit: Overflow, to: Narrow) -> Result<Value, OpError> {
    let size = r.unary(Unary::Abs, x)?;
    let largest = r.add_scalar(f64::from(limit.from), DType::F32);
    let f = if limit.includes { Binary::LessOrEqual } else { Binary::Less };
    let overflows = r.compare(f, largest, size)?;
    let beyond = if to == Narrow::F8E5M2 {
        let [infinity, negative, zero] =
            [f64::INFINITY, f64::NEG_INFINITY, 0.0].map(|v| r.add_scalar(v, DType::F32));
        let is_negative = r.compare(Binary::Less, x, zero)?;
        r.select(is_negative, negative, infinity)?
    } else {
        r.add_scalar(f64::NAN, DType::F32)
    };
    r.select(overflows, beyond, y)
}

/// Adds the low bits of whole numbers, as many as the range `low..=high` has.
fn low_bits(r: &mut Reading, x: Value, (low, high): (i64, i64), dtype: DType) -> Result<Value, OpError> {
    let x = r.cast(x, DType::I32)?;
    let count = r.add_scalar((high - low + 1) as f64, DType::I32);
    let low = r.add_scalar(low as f64, DType::I32);
    let above = r.add(Sub, &[x, low])?;
    let bits = r.add(Arithmetic { f: Binary::Mod }, &[above, count])?;
    let number = r.add(Add, &[bits, low])?;
    r.cast(number, dtype)
}

/// Adds the conversion to a float type.
fn rounded(r: &mut Reading, x: Value, to: DType) -> Result<Value, OpError> {
    // Floats are float32 throughout: a narrower type rounds the values, float64 has no more of them.
    let is_narrow = matches!(to, DType::F16 | DType::Bf16);
    let x = if is_narrow { r.cast(x, to)? } else { x };
    r.cast(x, DType::F32)
}

/// Returns the element type of a name of `TensorProto.DataType`, as the first opsets have it.
fn by_name(name: &str) -> Result<DType, OpError> {
    let names = [
        "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE",
    ];
    let code = names.iter().position(|n| *n == name.to_uppercase());
    code.map_or_else(|| Err(OpError::mismatch("to", "an element type", name)), |i| dtype(i as i64 + 1))
}

/// Returns the error of an element type that is valid but not supported.
fn unsupported(elements: &str) -> Result<DType, OpError> {
    Err(OpError::unsupported(
        "element type",
        "integers of 8 bits or more, floats of 16 bits or more, or bool",
        elements,
    ))
}

/// Returns the element type of a code of `TensorProto.DataType`.
///
/// # Errors
/// If the type is not supported or the code is not defined.
pub fn dtype(code: i64) -> Result<DType, OpError> {
    Ok(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::Bf16,
        8 => return unsupported("strings"),
        14 | 15 => return unsupported("complex numbers"),
        17..=20 | 24 => return unsupported("floats of 8 bits"),
        21..=23 => return unsupported("numbers of 4 bits"),
        25 | 26 => return unsupported("integers of 2 bits"),
        other => return Err(OpError::invalid("element type", "a code from 1 to 26", other)),
    })
}
