//! Softmax.

use serde::{Deserialize, Serialize};

/// Softmax over one axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Softmax {
    /// The axis.
    pub axis: usize,
}
