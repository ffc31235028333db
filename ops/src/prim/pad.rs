//! Padding.

use serde::{Deserialize, Serialize};

use crate::tensor::Dim;

/// Contents of pads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The operand mirrored at its edge, the edge not repeated.
    Reflect,
    /// The element at the edge.
    Edge,
}

/// Padding of each axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Elements put before, by axis.
    pub before: Vec<Dim>,
    /// Elements put after, by axis.
    pub after: Vec<Dim>,
    /// The fill.
    pub mode: PadMode,
}
