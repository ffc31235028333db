//! Attention between projected queries, keys and values, as ONNX Runtime's optimizer writes it. Reads `MultiHeadAttention` of
//! com.microsoft.
//!
//! Shapes: query `[batch, queries, heads · features]`; key and value alike, or by head `[batch, heads, keys, features]`, or packed
//! in the query or the key, `[batch, sequence, heads, 3 or 2, features]`. Results: y `[batch, queries, heads · value features]`,
//! present key and value by head, and the scores before the softmax.

use super::heads::{DotProduct, by_head, scale};
use super::padding_mask::{Sizes, masks};
use super::read::{MICROSOFT, Reader, Reading};
use super::{Add, Concat};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Returns the reader of `MultiHeadAttention`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "MultiHeadAttention", read)]
}

/// Reads the operator. Operands: query, key, value, bias, padding mask, addend of the scores, past key, past value.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let heads = r.int("num_heads")?.ok_or_else(|| OpError::missing_attribute("num_heads", "an integer"))?;
    for (operand, name) in [(8, "past_sequence_length"), (9, "cache_indirection")] {
        if r.optional(operand).is_some() {
            return Err(OpError::unsupported(&format!("operand `{name}`"), "none", "one"));
        }
    }
    let [mut q, mut k, mut v] = unpacked(r)?;
    if let Some(bias) = r.optional(3) {
        [q, k, v] = biased(r, [q, k, v], bias)?;
    }
    let [q, mut k, mut v] = [
        by_head(r, q, Some(heads), "num_heads")?,
        by_head(r, k, Some(heads), "num_heads")?,
        by_head(r, v, Some(heads), "num_heads")?,
    ];
    let (padding, bias) = (r.optional(4), r.optional(5));
    let mut past = Dim::known(0);
    if let (Some(past_k), Some(past_v)) = (r.optional(6), r.optional(7)) {
        let shape = r.ty(past_k).shape.0;
        let [_, _, positions, _] = shape.as_slice() else {
            return Err(OpError::mismatch("rank of the past key", 4, shape.len()));
        };
        past = positions.clone();
        k = r.add(Concat { axis: 2 }, &[past_k, k])?;
        v = r.add(Concat { axis: 2 }, &[past_v, v])?;
    }
    let sizes = Sizes {
        batch: r.ty(q).dim(0).clone(),
        queries: r.ty(q).dim(2).clone(),
        keys: r.ty(k).dim(2).clone(),
        past,
    };
    let scale = scale(r.float("scale")?.filter(|scale| *scale != 0.0), r.ty(q).dim(3))?;
    let mut addends: Vec<Value> = bias.into_iter().collect();
    addends.extend(masks(r, padding, &sizes)?);
    let product = DotProduct { q, k, v, scale, softcap: 0.0, addends };
    let scores = product.scores(r)?;
    let weights = DotProduct::weights(r, scores)?;
    Ok(vec![product.sum(r, weights)?, k, v, scores])
}

/// Splits packed operands; key and value by head stay so.
fn unpacked(r: &mut Reading) -> Result<[Value; 3], OpError> {
    let (query, key, value) = (r.input(0)?, r.optional(1), r.optional(2));
    let parts = |r: &mut Reading, x: Value, count: i64| -> Result<Vec<Value>, OpError> {
        let d = r.ty(x).shape.0;
        let [batch, sequence, heads, _, features] = d.as_slice() else {
            return Err(OpError::mismatch("rank of the packed operand", 5, d.len()));
        };
        let to = Shape(vec![batch.clone(), sequence.clone(), heads * features]);
        let mut parts = vec![];
        for i in 0..count {
            let part = r.slice(x, 3, Dim::known(i), Dim::known(1))?;
            parts.push(r.reshape(part, to.clone())?);
        }
        Ok(parts)
    };
    match (key, value) {
        (None, None) => {
            let parts = parts(r, query, 3)?;
            Ok([parts[0], parts[1], parts[2]])
        }
        (Some(key), None) => {
            let parts = parts(r, key, 2)?;
            Ok([query, parts[0], parts[1]])
        }
        (Some(key), Some(value)) => Ok([query, key, value]),
        (None, Some(_)) => Err(OpError::mismatch("operand `key`", "one beside a value", "none")),
    }
}

/// Adds the bias of the projections, `[queries' + keys' + values' features]`, to operands that are not by head yet.
pub fn biased(r: &mut Reading, operands: [Value; 3], bias: Value) -> Result<[Value; 3], OpError> {
    let mut sums = operands;
    let mut start = Dim::known(0);
    for (sum, operand) in sums.iter_mut().zip(operands) {
        let d = r.ty(operand).shape.0;
        // A key by head is projected already: `[batch, heads, keys, features]`.
        let width = match d.as_slice() {
            [_, heads, _, features] => heads * features,
            [_, _, features] => features.clone(),
            _ => return Err(OpError::mismatch("rank of an operand", "3 or 4", d.len())),
        };
        if d.len() != 4 {
            let part = r.slice(bias, 0, start.clone(), width.clone())?;
            *sum = r.add(Add, &[operand, part])?;
        }
        start = &start + &width;
    }
    Ok(sums)
}
