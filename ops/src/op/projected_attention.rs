//! Self-attention with the projection of queries, keys and values inside, as ONNX Runtime's optimizer writes it. Reads `Attention`
//! and `QAttention` of com.microsoft; the operands of the second are quantised.
//!
//! Shapes: x `[batch, sequence, features]`, weights `[features, q + k + v]`, bias `[q + k + v]`, past and present
//! `[2, batch, heads, positions, features]`. Results: y `[batch, sequence, v]`, present.

use super::dequantise::dequantise;
use super::heads::{DotProduct, by_head, scale};
use super::integer_product::factor;
use super::matmul::product;
use super::padding_mask::{Sizes, masks};
use super::quantisation_layout::{Layout, positive};
use super::read::{MICROSOFT, Reader, Reading};
use super::{Add, Concat};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Shape};

/// Returns the readers of both.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "Attention", read), Reader::of(MICROSOFT, "QAttention", read_quantised)]
}

/// Reads the operator. Operands: x, weights, bias, mask, past, addend of the scores.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    r.ignore(&["rotary_embedding_dim"]);
    if r.optional(6).is_some() {
        return Err(OpError::unsupported("operand `past_sequence_length`", "none", "one"));
    }
    let (x, weights) = (r.input(0)?, r.input(1)?);
    let context = Context { mask: r.optional(3), past: r.optional(4), addend: r.optional(5) };
    attend(r, [x, weights], context)
}

/// Reads the operator with quantised operands: x, weights, bias, scales of x and weights, mask, zero points of x and weights, past.
fn read_quantised(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, scale, zero) = (r.input(0)?, r.input(3)?, r.optional(6));
    positive(r, scale)?;
    let x = dequantise(r, x, scale, zero, Layout::Tensor)?;
    let (weights, scale, zero) = (r.input(1)?, r.input(4)?, r.optional(7));
    let weights = factor(r, weights, scale, zero)?;
    let context = Context { mask: r.optional(5), past: r.optional(8), addend: None };
    attend(r, [x, weights], context)
}

/// Optional operands of the attention.
struct Context {
    mask: Option<Value>,
    past: Option<Value>,
    addend: Option<Value>,
}

/// Adds the attention of x to itself; the bias of the projection is operand 2.
fn attend(r: &mut Reading, [x, weights]: [Value; 2], context: Context) -> Result<Vec<Value>, OpError> {
    let heads = r.int("num_heads")?.ok_or_else(|| OpError::missing_attribute("num_heads", "an integer"))?;
    // ONNX Runtime refuses rotation and fixed buffers on the CPU, too.
    for attribute in ["do_rotary", "past_present_share_buffer"] {
        if r.flag(attribute, false)? {
            return Err(OpError::unsupported(attribute, 0, 1));
        }
    }
    let mut projected = product(r, x, weights)?;
    if let Some(bias) = r.optional(2) {
        projected = r.add(Add, &[projected, bias])?;
    }
    let [q, mut k, mut v] = split(r, projected, heads)?;
    let mut past = Dim::known(0);
    if let Some(both) = context.past {
        let d = r.ty(both).shape.0;
        if d.len() != 5 {
            return Err(OpError::mismatch("rank of the past", 5, d.len()));
        }
        past = d[3].clone();
        for (i, now) in [&mut k, &mut v].into_iter().enumerate() {
            let earlier = r.slice(both, 0, Dim::known(i as i64), Dim::known(1))?;
            let earlier = r.reshape(earlier, Shape(d[1..].to_vec()))?;
            *now = r.add(Concat { axis: 2 }, &[earlier, *now])?;
        }
    }
    let (ty_q, ty_k) = (r.ty(q), r.ty(k));
    let sizes =
        Sizes { batch: ty_q.dim(0).clone(), queries: ty_q.dim(2).clone(), keys: ty_k.dim(2).clone(), past };
    let mut addends: Vec<Value> = context.addend.into_iter().collect();
    addends.extend(masks(r, context.mask, &sizes)?);
    let scale = scale(r.float("scale")?.filter(|scale| *scale != 0.0), ty_q.dim(3))?;
    let attention = DotProduct { q, k, v, scale, softcap: 0.0, addends };
    let scores = attention.scores(r)?;
    let weights = DotProduct::weights(r, scores)?;
    let y = attention.sum(r, weights)?;
    if r.outputs < 2 {
        return Ok(vec![y]);
    }
    let mut halves = vec![];
    for half in [k, v] {
        let to = [vec![Dim::known(1)], r.ty(half).shape.0].concat();
        halves.push(r.reshape(half, Shape(to))?);
    }
    Ok(vec![y, r.add(Concat { axis: 0 }, &halves)?])
}

/// Splits the projection into queries, keys and values by head: into thirds, or by attribute `qkv_hidden_sizes`.
fn split(r: &mut Reading, projected: Value, heads: i64) -> Result<[Value; 3], OpError> {
    let d = r.ty(projected).shape.0;
    let [_, _, width] = d.as_slice() else {
        return Err(OpError::mismatch("rank of the operand", 3, d.len()));
    };
    let third = width.floor_div(&Dim::known(3));
    let widths = match r.sizes("qkv_hidden_sizes")? {
        None => [third.clone(), third.clone(), third],
        Some(sizes) => match sizes.as_slice() {
            [q, k, v] => [*q, *k, *v].map(|size| Dim::known(size as i64)),
            other => return Err(OpError::mismatch("qkv_hidden_sizes", "three sizes", format!("{other:?}"))),
        },
    };
    let mut start = Dim::known(0);
    let mut part = |width: &Dim| -> Result<Value, OpError> {
        let part = r.slice(projected, 2, start.clone(), width.clone())?;
        start = &start + width;
        by_head(r, part, Some(heads), "num_heads")
    };
    Ok([part(&widths[0])?, part(&widths[1])?, part(&widths[2])?])
}
