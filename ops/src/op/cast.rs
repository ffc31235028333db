//! Conversion of the element type. Reads `Cast` and `CastLike`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::Builder;
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
            r.ignore(&["saturate", "round_mode"]);
            let to = dtype(code)?;
            cast(r, to)
        }),
        Reader::new("CastLike", 15, |r| {
            r.ignore(&["saturate", "round_mode"]);
            let to = r.ty(r.input(1)?).dtype;
            cast(r, to)
        }),
    ]
}

fn cast(r: &mut Reading, to: DType) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    // Floats are float32 throughout: a narrower type rounds the values, float64 has no more of them.
    let is_narrow = matches!(to, DType::F16 | DType::Bf16);
    let x = if is_narrow { r.cast(x, to)? } else { x };
    Ok(vec![r.cast(x, if to.is_float() { DType::F32 } else { to })?])
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
