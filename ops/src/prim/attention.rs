//! Attributes of the attention primitives.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How scores become weights: `softmax(scale · q kᵀ + mask)` over the keys.
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

impl fmt::Display for AttentionGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scale={}{}", self.scale, if self.guard { " guard" } else { "" })
    }
}
