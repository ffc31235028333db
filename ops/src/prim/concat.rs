//! Concatenation.

use serde::{Deserialize, Serialize};

/// Concatenation along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}
