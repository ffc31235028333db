//! Replacement of missing values by column. Reads `Imputer` of `ai.onnx.ml` as a choice.

use super::read::{Reader, Reading};
use super::{Compare, is_nan};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::Tensor;

/// Returns the reader of `Imputer`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "ai.onnx.ml", op: "Imputer", since: 1, until: 5, read }]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let ty = r.ty(x);
    let (floats, ints) = (r.floats("imputed_value_floats")?, r.ints("imputed_value_int64s")?);
    let (missing, missing_int) =
        (r.float_or("replaced_value_float", 0.0)?, r.int_or("replaced_value_int64", 0)?);
    let (values, replaced) = match (floats, ints) {
        (Some(values), _) if ty.dtype.is_float() => {
            (Tensor::from_f32(&[values.len()], &values), r.add_scalar(f64::from(missing), ty.dtype))
        }
        (_, Some(values)) if ty.dtype.is_integer() => (
            Tensor::from_i64(&[values.len()], &values),
            r.add_constant(Tensor::from_i64(&[], &[missing_int])),
        ),
        _ => return Err(OpError::missing_attribute("imputed_value_floats", "values of the operand's type")),
    };
    let values = r.add_constant(values);
    let values = r.cast(values, ty.dtype)?;
    let is_missing = if missing.is_nan() && ty.dtype.is_float() {
        is_nan::is_nan(r, x)?
    } else {
        r.add(Compare { f: Some(Binary::Equal), swap: false }, &[x, replaced])?
    };
    let y = r.select(is_missing, values, x)?;
    if r.ty(y).shape != ty.shape {
        return Err(OpError::mismatch("imputed values", "1, or one for each column", r.ty(values)));
    }
    Ok(vec![y])
}
