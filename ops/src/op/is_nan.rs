//! Tests for NaN and infinity. Reads `IsNaN` and `IsInf` as comparisons: only NaN differs from itself.

use super::read::{Reader, Reading};
use super::{Activation, Compare, Function};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};

const EQUAL: Compare = Compare { f: Some(Binary::Equal), swap: false };

/// Returns the readers of `IsNaN` and `IsInf`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("IsNaN", 9, |r| {
            let x = r.input(0)?;
            Ok(vec![is_nan(r, x)?])
        }),
        Reader::new("IsInf", 10, is_inf),
    ]
}

/// Builds the test of each element for NaN.
pub(super) fn is_nan(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    let same = r.add(EQUAL, &[x, x])?;
    r.add(Compare { f: None, swap: false }, &[same])
}

fn is_inf(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let mut x = r.input(0)?;
    let (positive, negative) = (r.flag("detect_positive", true)?, r.flag("detect_negative", true)?);
    let bound = match (positive, negative) {
        (true, true) => {
            x = r.add(Activation { f: Function::Unary(Unary::Abs) }, &[x])?;
            f64::INFINITY
        }
        (true, false) => f64::INFINITY,
        (false, true) => f64::NEG_INFINITY,
        (false, false) => {
            return Err(OpError::unsupported(
                "detect_negative and detect_positive",
                "1 for one or both",
                "0 for both",
            ));
        }
    };
    let bound = r.add_scalar(bound, r.ty(x).dtype);
    Ok(vec![r.add(EQUAL, &[x, bound])?])
}
