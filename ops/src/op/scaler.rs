//! Scaling by column: `(x - offset) · scale` along the last axis. Reads `Scaler` of `ai.onnx.ml` as `Sub` and `Mul`.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Tensor};

/// Returns the reader of `Scaler`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "ai.onnx.ml", op: "Scaler", since: 1, until: 5, read }]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let x = r.add(super::Cast { to: DType::F32 }, &[x])?;
    let vector = |r: &mut Reading, name: &str| -> Result<Option<Value>, OpError> {
        let values = r.floats(name)?;
        Ok(values.map(|v| r.add_constant(Tensor::from_f32(&[v.len()], &v))))
    };
    let (offset, scale) = (vector(r, "offset")?, vector(r, "scale")?);
    let mut y = x;
    if let Some(offset) = offset {
        y = r.add(super::Sub, &[y, offset])?;
    }
    if let Some(scale) = scale {
        y = r.add(super::Mul, &[y, scale])?;
    }
    if r.ty(y).shape != r.ty(x).shape {
        return Err(OpError::mismatch("shape after scaling", r.ty(x), r.ty(y)));
    }
    Ok(vec![y])
}
