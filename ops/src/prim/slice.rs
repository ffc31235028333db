//! Slices along an axis and their adjoint.

use serde::{Deserialize, Serialize};

use crate::tensor::Dim;

/// Along one axis: `start, start + step, …`, `len` elements. A negative step runs backwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The axis.
    pub axis: usize,
    /// The first index.
    pub start: Dim,
    /// The number of elements.
    pub len: Dim,
    /// The step, not 0.
    pub step: i64,
}

/// The adjoint of [`Slice`]: zeros of dimension `to` along `axis`, with the operand in the slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceTranspose {
    /// The axis.
    pub axis: usize,
    /// The first index.
    pub start: Dim,
    /// The dimension of the result along `axis`.
    pub to: Dim,
    /// The step, not 0.
    pub step: i64,
}
