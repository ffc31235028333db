//! Comparison with a threshold. Reads `Binarizer` of `ai.onnx.ml`: 1 above the threshold, else 0; carries no relevance.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;

/// Returns the reader of `Binarizer`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "ai.onnx.ml", op: "Binarizer", since: 1, until: 5, read }]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let dtype = r.ty(x).dtype;
    let threshold = r.float_or("threshold", 0.0)?;
    let threshold = r.add_scalar(f64::from(threshold), dtype);
    let is_above = r.compare(Binary::Less, threshold, x)?;
    Ok(vec![r.cast(is_above, dtype)?])
}
