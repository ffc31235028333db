//! Elementwise functions of two operands.

use serde::{Deserialize, Serialize};

/// Elementwise functions of two operands, which broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// Integers: truncation towards zero.
    Div,
    /// `a / b` with `0` wherever `b` is `0`.
    GuardedDiv,
    /// `aᵇ`.
    Pow,
    /// The smaller.
    Min,
    /// The greater.
    Max,
    /// Sign of the divisor, as ONNX `Mod` with `fmod = 0`.
    Mod,
    /// Comparisons give booleans.
    Equal,
    /// `a < b`, a boolean.
    Less,
    /// `a ≤ b`, a boolean.
    LessOrEqual,
    /// Booleans.
    And,
    /// Booleans.
    Or,
    /// Booleans.
    Xor,
}

impl Binary {
    /// Whether the result is boolean.
    pub fn is_predicate(self) -> bool {
        matches!(self, Binary::Equal | Binary::Less | Binary::LessOrEqual)
    }

    /// Whether operands are boolean.
    pub fn is_logic(self) -> bool {
        matches!(self, Binary::And | Binary::Or | Binary::Xor)
    }
}
