//! The choice between two branches and its adjoint.

use serde::{Deserialize, Serialize};

use crate::tensor::{Dim, Shape};

/// `(a, b)`: `a` where the condition is 1, `b` where it is 0; the other one is not computed. A dimension in which they
/// differ is that of the chosen one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// 1 or 0, known once it is bound.
    pub condition: Dim,
}

/// The adjoint of [`Merge`] in one operand, of shape `to`: `r` if that operand was chosen, else zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeTranspose {
    /// The condition of the forward.
    pub condition: Dim,
    /// In `b`; else in `a`.
    pub second: bool,
    /// The shape of the operand.
    pub to: Shape,
}
