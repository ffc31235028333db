//! Matrix products.

use serde::{Deserialize, Serialize};

/// The function of an operand that a product reads: `|x|` is `Abs`, `max(x, 0)` is `Pos`, `min(x, 0)` is `Neg`; `x²`, and 1.
///
/// Weights are stored once; a kernel takes the part on the fly where it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Part {
    /// As it is.
    #[default]
    Id,
    /// The magnitude.
    Abs,
    /// The positive part.
    Pos,
    /// The negative part (its values are ≤ 0).
    Neg,
    /// The square.
    Square,
    /// 1 for every element.
    One,
}

/// `part(a) · part(b)` over the last two axes (each transposed first if so marked), batch axes broadcast.
/// Both operands have rank ≥ 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatMul {
    /// Part of `a`.
    pub a: Part,
    /// Part of `b`.
    pub b: Part,
    /// Swap the last two axes of `a`.
    pub ta: bool,
    /// Swap the last two axes of `b`.
    pub tb: bool,
}
