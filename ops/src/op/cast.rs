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
        Reader::new("Cast", 6, |r| {
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
    Ok(vec![if r.ty(x).dtype == to { x } else { r.add(Cast { to }, &[x])? }])
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
