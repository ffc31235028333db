//! Formulas of the trigonometric and hyperbolic functions that are not primitives.

use crate::graph::Value;
use crate::prim::{Binary, Builder, Prim, Unary};

/// Function of the trigonometric family, named as its ONNX operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigonometric {
    /// `tan x`.
    Tan,
    /// `arcsin x`.
    Asin,
    /// `arccos x`.
    Acos,
    /// `arctan x`.
    Atan,
    /// `sinh x`.
    Sinh,
    /// `cosh x`.
    Cosh,
    /// `arsinh x`.
    Asinh,
    /// `arcosh x`.
    Acosh,
    /// `artanh x`.
    Atanh,
}

impl Trigonometric {
    /// All functions.
    pub const ALL: [Trigonometric; 9] = [
        Trigonometric::Tan,
        Trigonometric::Asin,
        Trigonometric::Acos,
        Trigonometric::Atan,
        Trigonometric::Sinh,
        Trigonometric::Cosh,
        Trigonometric::Asinh,
        Trigonometric::Acosh,
        Trigonometric::Atanh,
    ];

    /// Returns the name of the ONNX operator.
    pub fn name(self) -> &'static str {
        match self {
            Trigonometric::Tan => "Tan",
            Trigonometric::Asin => "Asin",
            Trigonometric::Acos => "Acos",
            Trigonometric::Atan => "Atan",
            Trigonometric::Sinh => "Sinh",
            Trigonometric::Cosh => "Cosh",
            Trigonometric::Asinh => "Asinh",
            Trigonometric::Acosh => "Acosh",
            Trigonometric::Atanh => "Atanh",
        }
    }

    /// Builds the function of `x`.
    pub(super) fn build(self, b: &mut Builder, x: Value) -> Value {
        match self {
            Trigonometric::Tan => {
                let (s, c) = (b.unary(Unary::Sin, x), b.unary(Unary::Cos, x));
                b.binary(Binary::Div, s, c)
            }
            Trigonometric::Asin => arcsine(b, x),
            Trigonometric::Acos => {
                let quarter = b.scalar_like(std::f64::consts::FRAC_PI_2, x);
                let y = arcsine(b, x);
                b.minus(quarter, y)
            }
            Trigonometric::Atan => arctangent(b, x),
            // tanh · cosh keeps the relative precision near 0, where the difference of exponentials cancels.
            Trigonometric::Sinh => {
                let (t, c) = (b.unary(Unary::Tanh, x), hyperbolic_cosine(b, x));
                b.mul(t, c)
            }
            Trigonometric::Cosh => hyperbolic_cosine(b, x),
            Trigonometric::Asinh => {
                let (sign, a) = (b.unary(Unary::Sign, x), b.unary(Unary::Abs, x));
                let root = root_of_square_plus(b, a, 1.0);
                let sum = b.plus(a, root);
                let log = b.unary(Unary::Log, sum);
                b.mul(sign, log)
            }
            Trigonometric::Acosh => {
                let root = root_of_square_plus(b, x, -1.0);
                let sum = b.plus(x, root);
                b.unary(Unary::Log, sum)
            }
            Trigonometric::Atanh => {
                let unit = b.scalar_like(1.0, x);
                let (up, down) = (b.plus(unit, x), b.minus(unit, x));
                let ratio = b.binary(Binary::Div, up, down);
                let log = b.unary(Unary::Log, ratio);
                b.scale(log, 0.5)
            }
        }
    }
}

/// Builds `√(x² + c)`.
fn root_of_square_plus(b: &mut Builder, x: Value, c: f64) -> Value {
    let square = b.mul(x, x);
    let c = b.scalar_like(c, x);
    let sum = b.plus(square, c);
    b.unary(Unary::Sqrt, sum)
}

/// Builds `(eˣ + e⁻ˣ) / 2`.
fn hyperbolic_cosine(b: &mut Builder, x: Value) -> Value {
    let negative = b.unary(Unary::Neg, x);
    let (up, down) = (b.unary(Unary::Exp, x), b.unary(Unary::Exp, negative));
    let sum = b.plus(up, down);
    b.scale(sum, 0.5)
}

/// Builds `arcsin x = arctan(x / √(1 - x²))`.
fn arcsine(b: &mut Builder, x: Value) -> Value {
    let unit = b.scalar_like(1.0, x);
    // (1 - x)(1 + x) does not cancel near ±1.
    let (down, up) = (b.minus(unit, x), b.plus(unit, x));
    let square = b.mul(down, up);
    let cosine = b.unary(Unary::Sqrt, square);
    let tangent = b.binary(Binary::Div, x, cosine);
    arctangent(b, tangent)
}

/// Builds `arctan x` to 2 units in the last place of float32: the argument is brought below tan(π/8), where a polynomial of
/// degree 9 holds (the method of the Cephes library).
fn arctangent(b: &mut Builder, x: Value) -> Value {
    let a = b.unary(Unary::Abs, x);
    let unit = b.scalar_like(1.0, x);
    let (middle, far) = (b.scalar_like(0.414_213_562_373_095_03, x), b.scalar_like(2.414_213_562_373_095, x));
    let (is_middle, is_far) = (b.binary(Binary::Less, middle, a), b.binary(Binary::Less, far, a));
    // (a - 1) / (a + 1) + π/4 in the middle, -1 / a + π/2 beyond.
    let (minus, plus) = (b.minus(a, unit), b.plus(a, unit));
    let shifted = b.binary(Binary::Div, minus, plus);
    // Near 0 the inverse is not taken, but its derivative would be computed.
    let divisor = b.add(Prim::Select, &[is_far, a, unit]);
    let inverse = b.unary(Unary::Reciprocal, divisor);
    let inverse = b.unary(Unary::Neg, inverse);
    let near = b.add(Prim::Select, &[is_middle, shifted, a]);
    let t = b.add(Prim::Select, &[is_far, inverse, near]);
    let (zero, eighth) = (b.scalar_like(0.0, x), b.scalar_like(std::f64::consts::FRAC_PI_4, x));
    let quarter = b.scalar_like(std::f64::consts::FRAC_PI_2, x);
    let offset = b.add(Prim::Select, &[is_middle, eighth, zero]);
    let offset = b.add(Prim::Select, &[is_far, quarter, offset]);

    let z = b.mul(t, t);
    let mut p = b.scalar_like(8.053_744_495_38e-2, x);
    for coefficient in [-1.387_768_560_32e-1, 1.997_771_064_78e-1, -3.333_294_915_39e-1] {
        let scaled = b.mul(p, z);
        let coefficient = b.scalar_like(coefficient, x);
        p = b.plus(scaled, coefficient);
    }
    let p = b.mul(p, z);
    let p = b.mul(p, t);
    let p = b.plus(p, t);
    let y = b.plus(p, offset);
    let sign = b.unary(Unary::Sign, x);
    b.mul(sign, y)
}
