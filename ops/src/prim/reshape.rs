//! Other shapes of the same elements.

use serde::{Deserialize, Serialize};

use crate::tensor::Shape;

/// The same elements under another shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reshape {
    /// The shape.
    pub to: Shape,
}
