//! Embeddings of a BERT with the norm that follows, as ONNX Runtime's optimizer writes them. Reads `EmbedLayerNormalization` of
//! com.microsoft.
//!
//! Shapes: ids and segments `[batch, sequence]`, tables `[entries, features]`. Results: the normalised sum
//! `[batch, sequence, features]`, the number of unmasked tokens `[batch]`, and the sum.

use super::read::{MICROSOFT, Reader, Reading};
use super::{Add, Expand, Gather, LayerNorm, Range, Reduce, ReduceKind};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `EmbedLayerNormalization`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "EmbedLayerNormalization", read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (ids, segments) = (r.input(0)?, r.optional(1));
    let (words, positions, kinds) = (r.input(2)?, r.input(3)?, r.optional(4));
    let (scale, shift) = (r.input(5)?, r.input(6)?);
    let (mask, position_ids) = (r.optional(7), r.optional(8));
    let shape = r.ty(ids).shape;
    let [batch, sequence] = shape.0.as_slice() else {
        return Err(OpError::mismatch("rank of the ids", 2, r.ty(ids)));
    };
    let mut sum = r.add(Gather { axis: 0 }, &[words, ids])?;
    let position_ids = match position_ids {
        Some(ids) => ids,
        None => r.add(Range { start: Dim::known(0), step: 1, len: sequence.clone() }, &[])?,
    };
    let position = r.add(Gather { axis: 0 }, &[positions, position_ids])?;
    sum = r.add(Add, &[sum, position])?;
    if let (Some(kinds), Some(segments)) = (kinds, segments) {
        let kind = r.add(Gather { axis: 0 }, &[kinds, segments])?;
        sum = r.add(Add, &[sum, kind])?;
    }
    let epsilon = r.float_or("epsilon", 1e-12)?;
    let y = r.add(LayerNorm { axes: vec![2], epsilon, centre: true }, &[sum, scale, shift])?;
    r.ignore(&["mask_index_type"]);
    let count = match mask {
        Some(mask) => {
            let count = r.add(Reduce { kind: ReduceKind::Sum, axes: vec![1], keep: false }, &[mask])?;
            r.cast(count, DType::I32)?
        }
        // Without a mask the result is 0 for every row.
        None => {
            let none = r.add_scalar(0.0, DType::I32);
            r.add(Expand { to: Shape(vec![batch.clone()]) }, &[none])?
        }
    };
    Ok(vec![y, count, sum])
}
