//! Operators that return their operand in inference. Reads `Identity` and `Dropout`.

use super::read::Reader;
use crate::OpError;
use crate::tensor::DType;

/// Returns the readers of `Identity` and `Dropout`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Identity", 1, |r| Ok(vec![r.input(0)?])),
        Reader::new("Dropout", 1, |r| {
            r.ignore(&["ratio", "seed", "is_test"]);
            if let Some(mode) = r.optional(2)
                && r.constant(mode).is_none_or(|t| t.to_i64() != [0])
            {
                return Err(OpError::unsupported("training_mode", "false", "true or a computed value"));
            }
            let x = r.input(0)?;
            if r.outputs < 2 {
                return Ok(vec![x]);
            }
            // Inference keeps every element.
            let ty = r.ty(x);
            let kept_all = r.add_scalar(1.0, if r.opset < 10 { ty.dtype } else { DType::Bool });
            Ok(vec![x, r.add(super::Expand { to: ty.shape }, &[kept_all])?])
        }),
    ]
}
