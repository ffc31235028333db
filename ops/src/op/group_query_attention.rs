//! Causal attention whose keys are shared by groups of query heads, with rotation and cache inside, as the tools of ONNX Runtime
//! write language models. Reads `GroupQueryAttention` of com.microsoft.
//!
//! Shapes: query `[batch, sequence, heads · features]`, key and value `[batch, sequence, key heads · features]`, or all three in the
//! query; past and present `[batch, key heads, positions, features]`; lengths `[batch]`, each the index of a row's last key.
//! Results: y, present key, present value (as long as past and operand together), and the scores.

use super::heads::{DotProduct, additive, all_of, by_head, repeated, scale};
use super::read::{MICROSOFT, Reader, Reading};
use super::rotary_embedding::{Rotation, angles};
use super::{Add, Concat, Expand, Extremum, Gather, LayerNorm, Mul, Slice, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Binary;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `GroupQueryAttention`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "GroupQueryAttention", read)]
}

/// Reads the operator. Operands: query, key, value, past key, past value, lengths, total length, cosines, sines, positions, addend
/// of the scores, sinks of the heads, two scales of the cache, weights of the norms of query and key.
fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    refuse_quantised(r)?;
    let [mut q, mut k, mut v] = operands(r)?;
    let rows = Rows::read(r, q)?;
    let epsilon = r.float("qk_norm_epsilon")?.unwrap_or(1e-6);
    for (x, weight, attribute) in [(&mut q, 14, "q_norm_epsilon"), (&mut k, 15, "k_norm_epsilon")] {
        let epsilon = r.float_or(attribute, epsilon)?;
        if let Some(weight) = r.optional(weight) {
            *x = r.add(LayerNorm { axes: vec![3], epsilon, centre: false }, &[*x, weight])?;
        }
    }
    if r.flag("do_rotary", false)? {
        let (cosine, sine) = (r.input(7)?, r.input(8)?);
        let ids = match r.optional(9) {
            Some(ids) => ids,
            None => rows.positions(r)?,
        };
        let [cosine, sine] = [angles(r, cosine, Some(ids))?, angles(r, sine, Some(ids))?];
        let half = r.ty(cosine).dim(3).as_known();
        let interleaved = r.flag("rotary_interleaved", false)?;
        let rotation = Rotation { cosine, sine, interleaved, width: half.map(|half| 2 * half) };
        (q, k) = (rotation.apply(r, q)?, rotation.apply(r, k)?);
    } else {
        r.ignore(&["rotary_interleaved"]);
        // Tables and positions without a rotation have no effect.
        r.optional(9);
    }
    (k, v) = (rows.with_past(r, k, 3)?, rows.with_past(r, v, 4)?);
    let mut present = [k, v];
    if r.outputs > 1 {
        present = [rows.cleared(r, k)?, rows.cleared(r, v)?];
    }
    let heads = r.ty(q).dim(1).clone();
    (k, v) = (repeated(r, k, &heads)?, repeated(r, v, &heads)?);
    let mask = rows.mask(r)?;
    let addends: Vec<Value> = r.optional(10).into_iter().chain([mask]).collect();
    let scale = scale(r.float("scale")?.filter(|scale| *scale != 0.0), r.ty(q).dim(3))?;
    let softcap = f64::from(r.float_or("softcap", 0.0)?);
    let attention = DotProduct { q, k, v, scale, softcap, addends };
    let scores = attention.scores(r)?;
    let weights = match sinks(r, &heads)? {
        None => DotProduct::weights(r, scores)?,
        Some(sinks) => weights_with_sinks(r, scores, sinks)?,
    };
    let stage = match r.int_or("qk_output", 0)? {
        0 if r.outputs < 4 => scores,
        1 => scores,
        2 => weights,
        other => return Err(OpError::mismatch("qk_output", "1 or 2", other)),
    };
    Ok(vec![attention.sum(r, weights)?, present[0], present[1], stage])
}

/// Refuses caches of integers, and attributes that belong to them.
fn refuse_quantised(r: &Reading) -> Result<(), OpError> {
    for attribute in ["k_quant_type", "v_quant_type"] {
        let kind = r.string_or(attribute, "NONE")?;
        if kind != "NONE" {
            return Err(OpError::unsupported(attribute, "NONE", kind));
        }
    }
    r.ignore(&["kv_cache_bit_width"]);
    for (operand, name) in [(12, "k_scale"), (13, "v_scale"), (16, "query_seqlens")] {
        if r.optional(operand).is_some() {
            return Err(OpError::unsupported(&format!("operand `{name}`"), "none", "one"));
        }
    }
    for operand in [3, 4] {
        if let Some(past) = r.optional(operand).filter(|past| !r.ty(*past).dtype.is_float()) {
            return Err(OpError::unsupported("element type of the cache", "floats", r.ty(past).dtype));
        }
    }
    if r.flag("sliding_window_cache", false)? {
        return Err(OpError::unsupported("sliding_window_cache", 0, 1));
    }
    Ok(())
}

/// Reads query, key and value by head, from three operands or from one.
fn operands(r: &mut Reading) -> Result<[Value; 3], OpError> {
    let count = |name: &str| -> Result<i64, OpError> {
        let count = r.int(name)?.ok_or_else(|| OpError::missing_attribute(name, "an integer"))?;
        if count < 1 { Err(OpError::invalid(name, "at least 1", count)) } else { Ok(count) }
    };
    let (heads, kv_heads) = (count("num_heads")?, count("kv_num_heads")?);
    let query = r.input(0)?;
    match (r.optional(1), r.optional(2)) {
        (Some(key), Some(value)) => Ok([
            by_head(r, query, Some(heads), "num_heads")?,
            by_head(r, key, Some(kv_heads), "kv_num_heads")?,
            by_head(r, value, Some(kv_heads), "kv_num_heads")?,
        ]),
        (None, None) => {
            let all = by_head(r, query, Some(heads.saturating_add(kv_heads.saturating_mul(2))), "num_heads")?;
            let mut part = |start: i64, len: i64| r.slice(all, 1, Dim::known(start), Dim::known(len));
            Ok([part(0, heads)?, part(heads, kv_heads)?, part(heads.saturating_add(kv_heads), kv_heads)?])
        }
        _ => Err(OpError::mismatch("operands `key` and `value`", "both or none", "one")),
    }
}

/// Lengths of the rows of a batch. The keys of row `b` are `past[b]` of the cache, and the new ones behind them.
struct Rows {
    /// Rows of the batch.
    batch: Dim,
    /// New positions of each row.
    new: Dim,
    /// Positions that the cache has room for; 0 without a cache.
    room: Dim,
    /// Number of valid keys of each row, `[batch, 1]`.
    valid: Value,
    /// Number of keys before the new ones, `[batch, 1]`; `None` without a cache.
    past: Option<Value>,
}

impl Rows {
    fn read(r: &mut Reading, q: Value) -> Result<Rows, OpError> {
        let (batch, new) = (r.ty(q).dim(0).clone(), r.ty(q).dim(2).clone());
        let room = match (r.optional(3), r.optional(4)) {
            (Some(key), Some(_)) if r.ty(key).rank() == 4 => r.ty(key).dim(2).clone(),
            (None, None) => Dim::known(0),
            _ => {
                return Err(OpError::mismatch(
                    "past key and value",
                    "both of rank 4, or none",
                    "another form",
                ));
            }
        };
        let (last, total) = (r.input(5)?, r.input(6)?);
        let all = &room + &new;
        // The length of a mask from which the total was read.
        if let Some([total]) = r.dims(total).as_deref()
            && *total != all
        {
            return Err(OpError::dims("total_sequence_length", &all, total));
        }
        let last = r.cast(last, DType::I64)?;
        let last = r.reshape(last, Shape(vec![batch.clone(), Dim::known(1)]))?;
        let unit = r.add_scalar(1.0, DType::I64);
        let valid = r.add(Add, &[last, unit])?;
        let past = if room.is(0) {
            None
        } else {
            let new = r.dim_scalar(&new)?;
            let zero = r.add_scalar(0.0, DType::I64);
            let past = r.add(Sub, &[valid, new])?;
            Some(r.add(Extremum { max: true }, &[past, zero])?)
        };
        Ok(Rows { batch, new, room, valid, past })
    }

    /// Number of keys of each row, valid or not.
    fn keys(&self) -> Dim {
        &self.room + &self.new
    }

    /// Adds the positions of the new elements, `[batch or 1, new]`.
    fn positions(&self, r: &mut Reading) -> Result<Value, OpError> {
        let steps = r.count_along(&self.new, 1, 2)?;
        match self.past {
            None => Ok(steps),
            Some(past) => r.add(Add, &[steps, past]),
        }
    }

    /// Adds keys or values of the cache before the new ones `x`, `[batch, key heads, new, features]`, without a gap in any row.
    fn with_past(&self, r: &mut Reading, x: Value, operand: usize) -> Result<Value, OpError> {
        let (Some(cache), Some(past)) = (r.optional(operand), self.past) else { return Ok(x) };
        let all = r.add(Concat { axis: 2 }, &[cache, x])?;
        let d = r.ty(all).shape.0;
        // The element at position t of a row: that of the cache, or the new one t - past.
        let keys = self.keys();
        let position = r.count_along(&keys, 1, 2)?;
        let room = r.dim_scalar(&self.room)?;
        let gap = r.add(Sub, &[room, past])?;
        let shifted = r.add(Add, &[position, gap])?;
        let last = r.dim_scalar(&(&keys - &Dim::known(1)))?;
        let shifted = r.add(Extremum { max: false }, &[shifted, last])?;
        let is_past = r.compare(Binary::Less, position, past)?;
        let index = r.select(is_past, position, shifted)?;
        let rows = r.count_along(&self.batch, 0, 2)?;
        let length = r.dim_scalar(&keys)?;
        let start = r.add(Mul, &[rows, length])?;
        let index = r.add(Add, &[index, start])?;
        let flat = r.add(Transpose { perm: vec![0, 2, 1, 3] }, &[all])?;
        let flat = r.reshape(flat, Shape(vec![&d[0] * &d[2], d[1].clone(), d[3].clone()]))?;
        let joined = r.add(Gather { axis: 0 }, &[flat, index])?;
        r.add(Transpose { perm: vec![0, 2, 1, 3] }, &[joined])
    }

    /// Adds a cache with zeros behind the new elements of each row.
    fn cleared(&self, r: &mut Reading, cache: Value) -> Result<Value, OpError> {
        let Some(past) = self.past else { return Ok(cache) };
        let position = r.count_along(&self.keys(), 1, 2)?;
        let new = r.dim_scalar(&self.new)?;
        let end = r.add(Add, &[past, new])?;
        let is_filled = r.compare(Binary::Less, position, end)?;
        let to = Shape(vec![self.batch.clone(), Dim::known(1), self.keys(), Dim::known(1)]);
        let is_filled = r.reshape(is_filled, to)?;
        let zero = r.add_scalar(0.0, DType::F32);
        r.select(is_filled, cache, zero)
    }

    /// Adds the mask of the scores, `[batch, 1, new, keys]`: keys up to the query's own position, within its window.
    fn mask(&self, r: &mut Reading) -> Result<Value, OpError> {
        let causal = r.flag("causal", true)?;
        let window = r.int_or("local_window_size", -1)?;
        if window == 0 || window < -1 || (window > 0 && !causal) {
            return Err(OpError::unsupported(
                "local_window_size",
                "-1, or at least 1 where keys are causal",
                window,
            ));
        }
        let by_row = |r: &mut Reading, x: Value| {
            r.reshape(x, Shape(vec![self.batch.clone(), Dim::known(1), Dim::known(1), Dim::known(1)]))
        };
        let valid = by_row(r, self.valid)?;
        let unit = r.add_scalar(1.0, DType::I64);
        let column = r.count_along(&self.keys(), 3, 4)?;
        let mut conditions = vec![r.compare(Binary::Less, column, valid)?];
        if causal {
            let mut position = r.count_along(&self.new, 2, 4)?;
            if let Some(past) = self.past {
                let past = by_row(r, past)?;
                position = r.add(Add, &[position, past])?;
            }
            conditions.push(r.compare(Binary::LessOrEqual, column, position)?);
            if window > 0 {
                let before = r.add_scalar((window - 1) as f64, DType::I64);
                let start = r.add(Sub, &[position, before])?;
                // A padded query sees the last valid key at least.
                let last = r.add(Sub, &[valid, unit])?;
                let start = r.add(Extremum { max: false }, &[start, last])?;
                conditions.push(r.compare(Binary::LessOrEqual, start, column)?);
            }
        }
        match all_of(r, &conditions)? {
            Some(seen) => additive(r, seen),
            None => Ok(r.add_scalar(0.0, DType::F32)),
        }
    }
}

/// Reads the logit of each head that takes a part of the softmax and gives nothing, `[1, heads, 1, 1]`; 0 for a smooth softmax.
fn sinks(r: &mut Reading, heads: &Dim) -> Result<Option<Value>, OpError> {
    let smooth = r.int_or("smooth_softmax", 0)? == 1;
    let shape = Shape(vec![Dim::known(1), heads.clone(), Dim::known(1), Dim::known(1)]);
    match r.optional(11) {
        Some(sinks) => Ok(Some(r.reshape(sinks, shape)?)),
        None if smooth => {
            let zero = r.add_scalar(0.0, DType::F32);
            Ok(Some(r.add(Expand { to: shape }, &[zero])?))
        }
        None => Ok(None),
    }
}

/// Adds the softmax over the scores and a sink, without the sink's weight.
fn weights_with_sinks(r: &mut Reading, scores: Value, sinks: Value) -> Result<Value, OpError> {
    let d = r.ty(scores).shape.0;
    let to = Shape(vec![d[0].clone(), d[1].clone(), d[2].clone(), Dim::known(1)]);
    let column = r.add(Expand { to }, &[sinks])?;
    let joined = r.add(Concat { axis: 3 }, &[scores, column])?;
    let weights = DotProduct::weights(r, joined)?;
    r.add(Slice { axis: 3, start: Dim::known(0), len: d[3].clone(), step: 1 }, &[weights])
}
