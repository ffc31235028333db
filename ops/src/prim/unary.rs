//! Elementwise functions of one operand.

use serde::{Deserialize, Serialize};

/// Elementwise functions of one float operand (`Not` takes booleans).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// -1, 0 or 1.
    Sign,
    /// `eˣ`.
    Exp,
    /// `ln x`.
    Log,
    /// `√x`.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// The error function.
    Erf,
    /// `tanh x`.
    Tanh,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `alpha·x`.
    LeakyRelu {
        /// The factor.
        alpha: f32,
    },
    /// `x` where positive, else `alpha·(eˣ - 1)`.
    Elu {
        /// The factor.
        alpha: f32,
    },
    /// `clip(alpha·x + beta, 0, 1)`.
    HardSigmoid {
        /// The factor.
        alpha: f32,
        /// The offset.
        beta: f32,
    },
    /// `x · clip(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// Bounds are -∞ and ∞ when absent.
    Clip {
        /// The lower bound.
        min: Option<f32>,
        /// The upper bound.
        max: Option<f32>,
    },
    /// The next integer below.
    Floor,
    /// The next integer above.
    Ceil,
    /// Half to even.
    Round,
    /// `sin x`.
    Sin,
    /// `cos x`.
    Cos,
    /// Boolean negation.
    Not,
}
