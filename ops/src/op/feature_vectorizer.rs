//! Columns of several operands side by side. Reads `FeatureVectorizer` of `ai.onnx.ml` as `Concat`.

use super::Concat;
use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `FeatureVectorizer`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "ai.onnx.ml", op: "FeatureVectorizer", since: 1, until: 5, read }]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let inputs = r.all_inputs()?;
    let widths = r.ints("inputdimensions")?.unwrap_or_default();
    if widths.len() != inputs.len() {
        return Err(OpError::invalid("inputdimensions", inputs.len(), widths.len()));
    }
    let mut parts = vec![];
    for (x, width) in inputs.into_iter().zip(widths) {
        let x = r.cast(x, DType::F32)?;
        let ty = r.ty(x);
        let x = match ty.rank() {
            1 => r.reshape(x, Shape(vec![ty.dim(0).clone(), Dim::known(1)]))?,
            _ => r.flatten(x, 1)?,
        };
        let columns = r.ty(x).dim(1).clone();
        if !columns.is(width) {
            return Err(OpError::mismatch("columns of an operand", width, columns));
        }
        parts.push(x);
    }
    Ok(vec![r.add(Concat { axis: 1 }, &parts)?])
}
