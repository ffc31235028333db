//! Convolution and its adjoint.

use serde::{Deserialize, Serialize};

use super::{ConvGeometry, Part};
use crate::tensor::Dim;

/// Convolution: `x [n, c, …]`, `w [o, c/groups, …]`, optional `bias [o]` (always as it is).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Geometry.
    pub geometry: ConvGeometry,
    /// Part of `w`.
    pub w: Part,
}

/// The adjoint of [`Conv`] in `x`: `s [n, o, …]`, `w [o, c/groups, …]` → `[n, c, to…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvTranspose {
    /// Geometry of the forward convolution.
    pub geometry: ConvGeometry,
    /// Part of `w`.
    pub w: Part,
    /// Spatial dimensions of the result.
    pub to: Vec<Dim>,
}
