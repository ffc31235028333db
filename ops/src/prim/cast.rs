//! Conversion of element types.

use serde::{Deserialize, Serialize};

use crate::tensor::DType;

/// Conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cast {
    /// The element type.
    pub to: DType,
}
