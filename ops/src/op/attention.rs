//! Scaled dot-product attention: `y = softmax(scale · q kᵀ + mask) v`.
//!
//! Shapes: q `[…, m, d]`, k `[…, n, d]`, v `[…, n, e]`, mask (optional, additive) broadcasts to `[…, m, n]`, y
//! `[…, m, e]`; the leading axes (batch, heads) of q, k and v are equal. ONNX `Attention` is read as products, a
//! softmax and elementwise operators, which the pass `recover_attention` fuses if the composite has a rule for
//! attention. Source: [vaswani2017], ONNX `Attention` 23 to 25.

use super::Transpose;
use super::heads::{additive, all_of, by_head, capped, merged, repeated, scale};
use super::read::{Reader, Reading};
use super::role::{AttentionMap, Role, Site};
use super::{Add, Compare, Concat, MatMul, Mul, Operator, Pad, Range, Softmax, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, AttentionGeometry, AttentionPart, Binary, Builder, Factor, PadMode};
use crate::tensor::{DType, Dim, Shape};

/// Attention of all heads. Operands: q, k, v, mask (optional).
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Scale of the scores, and the weights of fully masked rows.
    pub geometry: AttentionGeometry,
}

impl Operator for Attention {
    fn attributes(&self) -> String {
        format!(" {}", self.geometry)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::Attention(self.geometry), inputs)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Attention(self)
    }
}

impl AttentionMap for Attention {
    fn share(&self, b: &mut Builder, site: &Site, r: Value, value: f32, part: AttentionPart) -> Value {
        let (data, mask) = site.inputs.split_at(3);
        let inputs = [data, &[r], mask].concat();
        b.add(prim::AttentionShare { geometry: self.geometry, value, part }, &inputs)
    }

    fn weights(&self, b: &mut Builder, site: &Site) -> Value {
        let scores = b.matmul(site.inputs[0], Factor::transposed(site.inputs[1]));
        let mut scores = b.scale(scores, f64::from(self.geometry.scale));
        if let Some(mask) = site.inputs.get(3) {
            scores = b.plus(scores, *mask);
        }
        let axis = b.ty(scores).rank() - 1;
        let weights = b.add(prim::Softmax { axis }, &[scores]);
        if !self.geometry.guard {
            return weights;
        }
        // Only NaN differs from itself.
        let is_number = b.binary(Binary::Equal, weights, weights);
        let zero = b.scalar_like(0.0, weights);
        b.select(is_number, weights, zero)
    }
}

/// Returns the reader of `Attention`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Attention", 23, read)]
}

/// Reads `Attention`. Operands: Q, K, V, mask, past key, past value, of rank 4 `[batch, heads, sequence, features]`, or
/// of rank 3 with the heads in the last axis; the number of valid keys of each row `[batch]`. Results: Y, present key, present
/// value, scores.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (q, k, v) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let rank = r.ty(q).rank();
    let heads = r.int("q_num_heads")?;
    let kv_heads = r.int("kv_num_heads")?;
    let q = by_head(r, q, heads, "q_num_heads")?;
    let mut k = by_head(r, k, kv_heads, "kv_num_heads")?;
    let mut v = by_head(r, v, kv_heads, "kv_num_heads")?;
    let (mask, past_k, past_v) = (r.optional(3), r.optional(4), r.optional(5));
    let mut past = Dim::known(0);
    if let Some(earlier) = past_k {
        past = r.ty(earlier).dim(2).clone();
        k = r.add(Concat { axis: 2 }, &[earlier, k])?;
    }
    if let Some(earlier) = past_v {
        v = r.add(Concat { axis: 2 }, &[earlier, v])?;
    }
    let (present_k, present_v) = (k, v);
    let (shape_q, shape_k) = (r.ty(q).shape, r.ty(k).shape);
    let scale = scale(r.float("scale")?, &shape_q.0[3])?;
    (k, v) = (repeated(r, k, &shape_q.0[1])?, repeated(r, v, &shape_q.0[1])?);
    let transposed = r.add(Transpose { perm: vec![0, 1, 3, 2] }, &[k])?;
    let mut scores = r.add(MatMul, &[q, transposed])?;
    let factor = r.add_scalar(scale, DType::F32);
    scores = r.add(Mul, &[scores, factor])?;
    // The optional output has the scores of one of four stages.
    let mut stages = vec![scores];
    scores = capped(r, scores, f64::from(r.float_or("softcap", 0.0)?))?;
    stages.push(scores);
    let seen = visible_keys(r, &shape_q.0[2], &shape_k.0[2], &past)?;
    if let Some(mask) = mask {
        let mask = if r.ty(mask).dtype == DType::Bool { additive(r, mask)? } else { mask };
        let mask = extended(r, mask, &shape_k.0[2])?;
        scores = r.add(Add, &[scores, mask])?;
    }
    if let Some(seen) = seen.keys {
        let mask = additive(r, seen)?;
        scores = r.add(Add, &[scores, mask])?;
    }
    stages.push(scores);
    r.ignore(&["softmax_precision"]);
    let mut weights = r.add(Softmax { axis: 3, log: false }, &[scores])?;
    if mask.is_some() || seen.may_be_none {
        // The softmax of a row without keys is NaN, and its result is 0. Only NaN differs from itself.
        let is_number = r.compare(Binary::Equal, weights, weights)?;
        let is_nan = r.add(Compare { f: None, swap: false }, &[is_number])?;
        let zero = r.add_scalar(0.0, DType::F32);
        weights = r.select(is_nan, zero, weights)?;
    }
    stages.push(weights);
    let mode = r.int_or("qk_matmul_output_mode", 0)?;
    let stage = usize::try_from(mode).ok().and_then(|mode| stages.get(mode).copied());
    let stage = stage.ok_or_else(|| OpError::mismatch("qk_matmul_output_mode", "0 to 3", mode))?;
    let mut y = r.add(MatMul, &[weights, v])?;
    if rank == 3 {
        y = merged(r, y)?;
    }
    Ok(vec![y, present_k, present_v, stage])
}

/// Keys that the queries of a block see by their position.
struct Visible {
    /// Boolean mask that broadcasts to `[batch, heads, queries, keys]`; `None` if all keys are seen.
    keys: Option<Value>,
    /// True if a query may see no key.
    may_be_none: bool,
}

/// Reads which keys are seen by position: causality, the window around the query and the number of valid keys. Query `i` stands
/// at position `i + offset`; the offset is the length of the past, or what the valid keys have beyond the queries.
fn visible_keys(r: &mut Reading, queries: &Dim, keys: &Dim, past: &Dim) -> Result<Visible, OpError> {
    let causal = r.flag("is_causal", false)?;
    let left = r.int_or("left_window_size", -1)?;
    let right = r.int_or("right_window_size", -1)?;
    let valid = match r.optional(6) {
        None => None,
        Some(valid) => {
            let batch = r.ty(valid).dim(0).clone();
            let valid = r.cast(valid, DType::I64)?;
            Some(r.reshape(valid, Shape([vec![batch], vec![Dim::known(1); 3]].concat()))?)
        }
    };
    let mut conditions = vec![];
    let column = r.add(Range { start: Dim::known(0), step: 1, len: keys.clone() }, &[])?;
    if let Some(valid) = valid {
        conditions.push(r.compare(Binary::Less, column, valid)?);
    }
    if causal || left >= 0 || right >= 0 {
        let start = if valid.is_some() { Dim::known(0) } else { past.clone() };
        let row = r.add(Range { start, step: 1, len: queries.clone() }, &[])?;
        let mut position = r.reshape(row, Shape(vec![queries.clone(), Dim::known(1)]))?;
        if let Some(valid) = valid {
            let queries = r.dim_scalar(queries)?;
            let offset = r.add(Sub, &[valid, queries])?;
            position = r.add(Add, &[position, offset])?;
        }
        if causal {
            conditions.push(r.compare(Binary::LessOrEqual, column, position)?);
        }
        if left >= 0 {
            let left = r.add_scalar(left as f64, DType::I64);
            let first = r.add(Sub, &[position, left])?;
            conditions.push(r.compare(Binary::LessOrEqual, first, column)?);
        }
        if right >= 0 {
            let right = r.add_scalar(right as f64, DType::I64);
            let last = r.add(Add, &[position, right])?;
            conditions.push(r.compare(Binary::LessOrEqual, column, last)?);
        }
    }
    let seen = all_of(r, &conditions)?;
    Ok(Visible { keys: seen, may_be_none: valid.is_some() || left >= 0 || right >= 0 })
}

/// Extends an additive mask that covers the first keys alone: the others are not seen.
fn extended(r: &mut Reading, mask: Value, keys: &Dim) -> Result<Value, OpError> {
    let ty = r.ty(mask);
    let covered = ty.shape.0.last().cloned().unwrap_or_else(|| Dim::known(1));
    match (keys - &covered).as_known() {
        Some(missing) if missing > 0 && !covered.is(1) => {
            let mut after = vec![Dim::known(0); ty.rank()];
            after[ty.rank() - 1] = Dim::known(missing);
            let before = vec![Dim::known(0); ty.rank()];
            r.add(Pad { before, after, mode: PadMode::Constant(f32::NEG_INFINITY) }, &[mask])
        }
        _ => Ok(mask),
    }
}
