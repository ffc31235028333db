//! Broadcasting.

use serde::{Deserialize, Serialize};

use crate::tensor::Shape;

/// Broadcast to a shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expand {
    /// The shape.
    pub to: Shape,
}
