//! Maxima of windows and the shares of their relevance.

use serde::{Deserialize, Serialize};

use super::Window;

/// Maximum over each window of `x [n, c, …]`; pads count as -∞.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WindowMax(pub Window);

/// `(x, y, r)`: each `r` is shared equally among the positions of its window where `x` equals the maximum `y`, or goes to
/// the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowMaxShare {
    /// The forward window.
    pub window: Window,
    /// Give all to the first position, in row-major order.
    pub first: bool,
}
