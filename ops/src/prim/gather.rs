//! Look-up by index and its adjoint.

use serde::{Deserialize, Serialize};

use crate::tensor::Dim;

/// `gather(data, indices)` along an axis; negative indices count from the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
}

/// The adjoint of [`Gather`] in `data`: `(updates, indices)` → zeros of dimension `to` along `axis`, plus each update at
/// its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScatterAdd {
    /// The axis.
    pub axis: usize,
    /// The dimension of the result along `axis`.
    pub to: Dim,
}
