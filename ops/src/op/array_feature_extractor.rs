//! Selection of columns along the last axis. Reads `ArrayFeatureExtractor` of `ai.onnx.ml` as `Gather`.

use super::read::{Reader, Reading};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Returns the reader of `ArrayFeatureExtractor`.
pub fn readers() -> Vec<Reader> {
    vec![Reader { domain: "ai.onnx.ml", op: "ArrayFeatureExtractor", since: 1, until: 5, read }]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, indices) = (r.input(0)?, r.input(1)?);
    // The specification flattens the indices and gives a vector operand a leading axis.
    let elems = r.ty(indices).shape.elems();
    let flat = r.reshape(indices, Shape(vec![elems]))?;
    let shape = r.ty(x).shape;
    let x = if shape.rank() == 1 { r.reshape(x, Shape([vec![Dim::known(1)], shape.0].concat()))? } else { x };
    let axis = r.ty(x).rank().saturating_sub(1);
    Ok(vec![r.add(super::Gather { axis }, &[x, flat])?])
}
