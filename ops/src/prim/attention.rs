//! Attention and the relevance that it gives back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The function from scores to weights: `softmax(scale · q kᵀ + mask)` over the keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionGeometry {
    /// The factor of the scores.
    pub scale: f32,
    /// A row in which every key is masked with -∞ has weights 0; else they are NaN.
    pub guard: bool,
}

/// A part of the relevance that an attention gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttentionPart {
    /// To the queries, of their shape.
    Query,
    /// To the keys, of their shape.
    Key,
    /// To the values, of their shape.
    Value,
    /// What each query row could give to nobody: `[…, m]`.
    Dropped,
}

/// `(q […, m, d], k […, n, d], v […, n, e], mask?)` → `softmax(scale · q kᵀ + mask) v`, `[…, m, e]`; the mask broadcasts to
/// `[…, m, n]`. No backend need keep the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attention(pub AttentionGeometry);

/// `(q, k, v, r […, m, e], mask?)`: `r`, the relevance of an attention's result, shared by contribution magnitude. With
/// the weights `p`, the flow through each is `f = p ⊙ ((r ⊘ p|v|) |v|ᵀ)`; the values get the share `value` of it, and each
/// weight passes the rest on to its query and its key, half each, by `|q||k|ᵀ`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttentionShare {
    /// Geometry of the forward attention.
    pub geometry: AttentionGeometry,
    /// The share of the values, in 0..=1.
    pub value: f32,
    /// The part that this computes.
    pub of: AttentionPart,
}

impl fmt::Display for AttentionGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scale={}{}", self.scale, if self.guard { " guard" } else { "" })
    }
}
