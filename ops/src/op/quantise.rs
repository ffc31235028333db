//! Rounding to the numbers of a quantised type. Reads `QuantizeLinear` and `DynamicQuantizeLinear`.

use super::dequantise::{decode, number};
use super::grid::{Grid, QuantisedType};
use super::quantisation::{Steps, quantise};
use super::quantisation_layout::{Layout, positive};
use super::read::{MICROSOFT, Reader, Reading};
use super::{Detached, Div, Extremum, Reduce, ReduceKind, Sub};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::DType;

/// Returns the readers of the operators that quantise.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("QuantizeLinear", 10, read),
        Reader::of(MICROSOFT, "QuantizeLinear", read),
        Reader::new("DynamicQuantizeLinear", 11, |r| {
            let x = r.input(0)?;
            let (q, steps) = dynamic(r, x)?;
            Ok(vec![q].into_iter().chain([steps.scale]).chain(steps.zero).collect())
        }),
    ]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, scale, zero) = (r.input(0)?, r.input(1)?, r.optional(2));
    r.ignore(&["precision"]);
    let to = quantised_type(r, zero)?;
    if matches!(to.grid, Grid::Float { .. }) && !r.flag("saturate", true)? {
        return Err(OpError::unsupported("saturate", 1, 0));
    }
    r.ignore(&["saturate"]);
    let layout = Layout::read(r, x, scale)?;
    layout.check(r, x, scale, zero)?;
    positive(r, scale)?;
    let x = number(r, x)?;
    let steps = layout.steps(r, x, scale, zero)?;
    Ok(vec![quantise(r, x, steps, to)?])
}

/// Returns the type of the result: that of the zero point, the attribute `output_dtype`, or uint8.
fn quantised_type(r: &Reading, zero: Option<Value>) -> Result<QuantisedType, OpError> {
    let code = r.int_or("output_dtype", 0)?;
    let by_zero = zero.map(|zero| (r.narrow(zero), r.ty(zero).dtype));
    let by_code = match code {
        0 => None,
        code => Some(match super::read::Narrow::of_code(code) {
            Some(narrow) => narrow.quantised_type(),
            None => whole(super::element_type(code)?)?,
        }),
    };
    let by_zero = match by_zero {
        Some((Some(narrow), _)) => Some(narrow.quantised_type()),
        Some((None, dtype)) => Some(whole(dtype)?),
        None => None,
    };
    match (by_zero, by_code) {
        (Some(a), Some(b)) if a != b => {
            Err(OpError::invalid("output_dtype", "the type of the zero point", "another type"))
        }
        (Some(to), _) | (None, Some(to)) => Ok(to),
        (None, None) => whole(DType::U8),
    }
}

/// Returns the quantised type of an integer type.
///
/// # Errors
/// For types that nothing is quantised to.
pub(super) fn whole(dtype: DType) -> Result<QuantisedType, OpError> {
    let grid = Grid::of(dtype).ok_or_else(|| {
        OpError::invalid(
            "element type of the zero point",
            "an integer of at most 16 bits or a float of 8",
            dtype,
        )
    })?;
    Ok(QuantisedType { grid, dtype })
}

/// Quantises `x` to uint8 by its own range, which includes 0. The scale and the zero point carry no relevance.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn dynamic(r: &mut Reading, x: Value) -> Result<(Value, Steps), OpError> {
    let data = r.add(Detached, &[x])?;
    let axes: Vec<usize> = (0..r.ty(x).rank()).collect();
    let zero = r.add_scalar(0.0, DType::F32);
    let mut bound = |max: bool| {
        let kind = if max { ReduceKind::Max } else { ReduceKind::Min };
        let extremum = r.add(Reduce { kind, axes: axes.clone(), keep: false }, &[data])?;
        r.add(Extremum { max }, &[extremum, zero])
    };
    let (low, high) = (bound(false)?, bound(true)?);
    let range = r.add(Sub, &[high, low])?;
    let levels = r.add_scalar(255.0, DType::F32);
    let scale = r.add(Div, &[range, levels])?;
    // Without a range, every value is 0.
    let is_zero = r.compare(Binary::Equal, range, zero)?;
    let unit = r.add_scalar(1.0, DType::F32);
    let scale = r.select(is_zero, unit, scale)?;
    let below = r.add(Div, &[low, scale])?;
    let below = r.unary(Unary::Neg, below)?;
    let below = r.unary(Unary::Clip { min: Some(0.0), max: Some(255.0) }, below)?;
    let below = r.unary(Unary::Round, below)?;
    let point = r.cast(below, DType::U8)?;
    let steps = Steps { scale, zero: Some(point) };
    Ok((quantise(r, x, steps, whole(DType::U8)?)?, steps))
}

/// Rounds `x` to uint8 by its own range, and returns the values that the numbers stand for.
///
/// # Errors
/// As [`Reading::add`].
pub(super) fn rounded(r: &mut Reading, x: Value) -> Result<Value, OpError> {
    let (q, steps) = dynamic(r, x)?;
    decode(r, q, Some(steps.scale), steps.zero)
}
