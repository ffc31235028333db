//! Sums of windows and their adjoint.

use serde::{Deserialize, Serialize};

use super::Window;
use crate::tensor::Dim;

/// Sum over each window of `x [n, c, …]`; pads count as 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WindowSum(pub Window);

/// The adjoint of [`WindowSum`]: `s [n, c, …]` → `[n, c, to…]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSumTranspose {
    /// The forward window.
    pub window: Window,
    /// Spatial dimensions of the result.
    pub to: Vec<Dim>,
}
