//! Pieces of attention for the readers of its operators: heads, scores, masks and the weighted sum of the values.

use super::read::Reading;
use super::{Add, Expand, MatMul, Mul, Softmax, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape};

/// Attention of all heads as products, a softmax and elementwise operators, `softmax(cap(scale · q kᵀ) + Σ addends) v`.
pub struct DotProduct {
    /// Queries, `[batch, heads, queries, features]`.
    pub q: Value,
    /// Keys, `[batch, heads, keys, features]`.
    pub k: Value,
    /// Values, `[batch, heads, keys, value features]`.
    pub v: Value,
    /// Factor of the scores.
    pub scale: f64,
    /// Bound of the scores, `c · tanh(s / c)`; 0 for none.
    pub softcap: f64,
    /// Masks and biases that are added to the scores; each broadcasts to `[batch, heads, queries, keys]`.
    pub addends: Vec<Value>,
}

impl DotProduct {
    /// Adds the scores before the softmax, `[batch, heads, queries, keys]`.
    ///
    /// # Errors
    /// If the operands do not fit.
    pub fn scores(&self, r: &mut Reading) -> Result<Value, OpError> {
        let transposed = r.add(Transpose { perm: vec![0, 1, 3, 2] }, &[self.k])?;
        let product = r.add(MatMul, &[self.q, transposed])?;
        let factor = r.add_scalar(self.scale, DType::F32);
        let mut scores = r.add(Mul, &[product, factor])?;
        scores = capped(r, scores, self.softcap)?;
        for addend in &self.addends {
            scores = r.add(Add, &[scores, *addend])?;
        }
        Ok(scores)
    }

    /// Adds the weights of the values: the softmax of the scores.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn weights(r: &mut Reading, scores: Value) -> Result<Value, OpError> {
        r.add(Softmax { axis: 3, log: false }, &[scores])
    }

    /// Adds the weighted sum of the values, heads side by side: `[batch, queries, heads · value features]`.
    ///
    /// # Errors
    /// If the operands do not fit.
    pub fn sum(&self, r: &mut Reading, weights: Value) -> Result<Value, OpError> {
        let y = r.add(MatMul, &[weights, self.v])?;
        merged(r, y)
    }
}

/// Adds the bound `cap · tanh(scores / cap)`; returns the scores if `cap` is 0.
pub fn capped(r: &mut Reading, scores: Value, cap: f64) -> Result<Value, OpError> {
    if cap <= 0.0 {
        return Ok(scores);
    }
    let (down, up) = (r.add_scalar(1.0 / cap, DType::F32), r.add_scalar(cap, DType::F32));
    let scaled = r.add(Mul, &[scores, down])?;
    let bounded = r.unary(Unary::Tanh, scaled)?;
    r.add(Mul, &[bounded, up])
}

/// Returns the factor of the scores: that of the attribute, or `1 / √features`.
pub fn scale(attribute: Option<f32>, features: &Dim) -> Result<f64, OpError> {
    match (attribute, features.as_known()) {
        (Some(scale), _) => Ok(f64::from(scale)),
        (None, Some(d)) => Ok(1.0 / (d as f64).sqrt()),
        (None, None) => {
            let expected = "a value, or a known number of features";
            Err(OpError::symbolic("scale", expected, format!("none for {features} features")))
        }
    }
}

/// Puts the heads side by side: `[batch, heads, sequence, features]` → `[batch, sequence, heads · features]`.
pub fn merged(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    let x = r.add(Transpose { perm: vec![0, 2, 1, 3] }, &[x])?;
    let d = r.ty(x).shape.0;
    r.reshape(x, Shape(vec![d[0].clone(), d[1].clone(), &d[2] * &d[3]]))
}

/// Combines conditions that broadcast: true where all hold; `None` without conditions.
pub fn all_of(r: &mut Reading, conditions: &[Value]) -> Result<Option<Value>, OpError> {
    let mut all: Option<Value> = None;
    for condition in conditions {
        all = Some(match all {
            None => *condition,
            Some(all) => r.compare(Binary::And, all, *condition)?,
        });
    }
    Ok(all)
}

/// Splits the heads of an operand of rank 3: `[batch, sequence, heads · features]` →
/// `[batch, heads, sequence, features]`. Operands of rank 4 are unchanged.
pub fn by_head(r: &mut Reading, x: Value, heads: Option<i64>, attribute: &str) -> Result<Value, OpError> {
    let d = r.ty(x).shape.0;
    match d.as_slice() {
        [_, _, _, _] => Ok(x),
        [batch, sequence, features] => {
            let missing = || OpError::missing_attribute(attribute, "at least 1 for operands of rank 3");
            let heads = heads.ok_or_else(missing)?;
            if heads < 1 {
                return Err(OpError::invalid(attribute, "at least 1", heads));
            }
            let heads = Dim::known(heads);
            let to = vec![batch.clone(), sequence.clone(), heads.clone(), features.floor_div(&heads)];
            let x = r.reshape(x, Shape(to))?;
            r.add(Transpose { perm: vec![0, 2, 1, 3] }, &[x])
        }
        _ => Err(OpError::mismatch("rank of an operand", "3 or 4", d.len())),
    }
}

/// Repeats each key or value head for the query heads that share it.
pub fn repeated(r: &mut Reading, x: Value, heads: &Dim) -> Result<Value, OpError> {
    let d = r.ty(x).shape.0;
    if d[1] == *heads {
        return Ok(x);
    }
    let (Some(kv_heads), Some(query_heads)) = (d[1].as_known(), heads.as_known()) else {
        let actual = format!("{} and {heads}", d[1]);
        return Err(OpError::symbolic("heads of keys and queries", "known numbers", actual));
    };
    if kv_heads < 1 || query_heads % kv_heads != 0 {
        return Err(OpError::mismatch("query heads", format!("a multiple of {kv_heads}"), query_heads));
    }
    let times = Dim::known(query_heads / kv_heads);
    let x =
        r.reshape(x, Shape(vec![d[0].clone(), d[1].clone(), Dim::known(1), d[2].clone(), d[3].clone()]))?;
    let to = Shape(vec![d[0].clone(), d[1].clone(), times, d[2].clone(), d[3].clone()]);
    let x = r.add(Expand { to }, &[x])?;
    r.reshape(x, Shape(vec![d[0].clone(), heads.clone(), d[2].clone(), d[3].clone()]))
}

/// Converts a boolean mask to an additive one: 0 where `keep` is true, -∞ elsewhere.
pub fn additive(r: &mut Reading, keep: Value) -> Result<Value, OpError> {
    let (zero, none) = (r.add_scalar(0.0, DType::F32), r.add_scalar(f64::NEG_INFINITY, DType::F32));
    r.select(keep, zero, none)
}
