//! Functions of an operand that a product reads in place of it.

use std::borrow::Cow;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::reference::layout::values;

/// The function of an operand that a product reads: `|x|` is `Abs`, `max(x, 0)` is `Pos`, `min(x, 0)` is `Neg`; `x²`, and 1.
///
/// Weights are stored once; a kernel takes the part on the fly where it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transform {
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

/// The part of a float.
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

/// The part of each value.
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
