//! Counting.

use serde::{Deserialize, Serialize};

use crate::tensor::Dim;

/// `0, 1, …, len - 1`, int64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Iota {
    /// Number of elements.
    pub len: Dim,
}
