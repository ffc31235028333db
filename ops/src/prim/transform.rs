//! Elementwise transforms that a product applies to its operands.

use std::borrow::Cow;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::reference::layout::values;
use super::{Binary, Builder, Unary};
use crate::graph::Value;

/// Elementwise transform that a matrix product or convolution applies to an operand before it multiplies.
///
/// A weight is stored once; kernels apply the transform when they load an element, if they can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transform {
    /// `x`.
    #[default]
    Id,
    /// `|x|`.
    Abs,
    /// `max(x, 0)`.
    Pos,
    /// `min(x, 0)`.
    Neg,
    /// `x²`.
    Square,
    /// 1.
    One,
}

impl Builder {
    /// Adds nodes that compute a transform of each element, for operands that no kernel transforms.
    pub fn transformed(&mut self, x: Value, transform: Transform) -> Value {
        match transform {
            Transform::Id => x,
            Transform::Abs => self.abs(x),
            Transform::Pos => self.unary(Unary::Relu, x),
            Transform::Neg => {
                let zero = self.scalar_like(0.0, x);
                self.binary(Binary::Min, x, zero)
            }
            Transform::Square => self.mul(x, x),
            Transform::One => {
                let (unit, shape) = (self.scalar_like(1.0, x), self.ty(x).shape);
                self.expand(unit, &shape)
            }
        }
    }
}

/// Applies a transform to a float; NaN stays NaN except under `One`.
pub(super) fn transform_float(transform: Transform, v: f64) -> f64 {
    match transform {
        Transform::Id => v,
        Transform::Abs => v.abs(),
        Transform::Pos => {
            if v < 0.0 {
                0.0
            } else {
                v
            }
        }
        Transform::Neg => {
            if v > 0.0 {
                0.0
            } else {
                v
            }
        }
        Transform::Square => v * v,
        Transform::One => 1.0,
    }
}

/// Applies a transform to an integer; overflow wraps.
pub(super) fn transform_integer(transform: Transform, v: i64) -> i64 {
    match transform {
        Transform::Id => v,
        Transform::Abs => v.wrapping_abs(),
        Transform::Pos => v.max(0),
        Transform::Neg => v.min(0),
        Transform::Square => v.wrapping_mul(v),
        Transform::One => 1,
    }
}

/// Applies a transform to each value, row-major.
pub(super) fn transformed<T: Copy>(
    x: &ArrayD<T>,
    transform: Transform,
    f: fn(Transform, T) -> T,
) -> Cow<'_, [T]> {
    match transform {
        Transform::Id => values(x),
        Transform::Abs | Transform::Pos | Transform::Neg | Transform::Square | Transform::One => {
            Cow::Owned(values(x).iter().map(|v| f(transform, *v)).collect())
        }
    }
}
