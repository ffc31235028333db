//! Functions of an operand that a product reads in place of it.

use std::borrow::Cow;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::reference::layout::values;

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

/// The part of a float.
pub(super) fn part_float(part: Part, v: f64) -> f64 {
    match part {
        Part::Id => v,
        Part::Abs => v.abs(),
        Part::Pos => {
            if v < 0.0 {
                0.0
            } else {
                v
            }
        }
        Part::Neg => {
            if v > 0.0 {
                0.0
            } else {
                v
            }
        }
        Part::Square => v * v,
        Part::One => 1.0,
    }
}

pub(super) fn part_integer(part: Part, v: i64) -> i64 {
    match part {
        Part::Id => v,
        Part::Abs => v.wrapping_abs(),
        Part::Pos => v.max(0),
        Part::Neg => v.min(0),
        Part::Square => v.wrapping_mul(v),
        Part::One => 1,
    }
}

/// The part of each value.
pub(super) fn parts<T: Copy>(x: &ArrayD<T>, part: Part, f: fn(Part, T) -> T) -> Cow<'_, [T]> {
    match part {
        Part::Id => values(x),
        Part::Abs | Part::Pos | Part::Neg | Part::Square | Part::One => {
            Cow::Owned(values(x).iter().map(|v| f(part, *v)).collect())
        }
    }
}
