//! Indices of the largest elements.

use serde::{Deserialize, Serialize};

use crate::tensor::Dim;

/// Indices of the `k` largest (or smallest) elements along an axis, int64, in order; of equal ones the first comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// The axis.
    pub axis: usize,
    /// Number of indices, at most the axis's dimension.
    pub k: Dim,
    /// The largest; else the smallest.
    pub largest: bool,
}
