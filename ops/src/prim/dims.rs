//! Dimensions as data.

use serde::{Deserialize, Serialize};

use crate::tensor::Dim;

/// An int64 tensor of dimensions, known once symbols are bound: `values` fill `dims`, row-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dims {
    /// The dimensions of this tensor.
    pub dims: Vec<usize>,
    /// Its values.
    pub values: Vec<Dim>,
}
