//! Reductions.

use serde::{Deserialize, Serialize};

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The product.
    Prod,
    /// Index of the first maximum, int64; one axis.
    ArgMax,
    /// Index of the first minimum, int64; one axis.
    ArgMin,
}

/// Reduction over `axes` (sorted, in range).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduce {
    /// The function.
    pub kind: Reduction,
    /// The axes.
    pub axes: Vec<usize>,
    /// Keep the reduced axes with dimension 1.
    pub keep: bool,
}
