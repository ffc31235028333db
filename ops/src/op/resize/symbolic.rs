//! Indices and weights of symbolic axes, computed in the graph by integer arithmetic: positions are quotients of
//! integers.

use super::super::read::Reading;
use super::super::{Add, Cast, Concat, Div, Extremum, Mul, Range, Sub};
use super::Axis;
use super::taps::{Filter, Mode, ROUNDINGS};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

/// Values of `coordinate_transformation_mode` that are read for symbolic axes.
const SYMBOLIC_COORDINATES: &str = "half_pixel, pytorch_half_pixel, asymmetric or align_corners";

/// Bound of the numerators and denominators of scales.
const LARGEST_FRACTION: i64 = 1 << 12;

/// Returns a scale as a fraction `p / q`: the scale itself, or that which rounds up to it, so that `⌊scale · from⌋` is
/// `⌊p · from / q⌋`.
fn fraction(scale: f32) -> Result<(i64, i64), OpError> {
    let pair = (1..=LARGEST_FRACTION).find_map(|q| {
        let p = (f64::from(scale) * q as f64).round();
        let quotient = p / q as f64;
        let is_scale = quotient as f32 == scale && quotient <= f64::from(scale);
        (is_scale && p <= LARGEST_FRACTION as f64).then_some((p as i64, q))
    });
    pair.ok_or_else(|| OpError::symbolic("scale of a symbolic axis", "a fraction of small numbers", scale))
}

/// Returns `⌊scale · from⌋`.
pub(super) fn scaled(from: &Dim, scale: f32) -> Result<Dim, OpError> {
    let (p, q) = fraction(scale)?;
    Ok((from * &Dim::known(p)).floor_div(&Dim::known(q)))
}

/// Position in the operand of element `i` of the result: `(factor · i + offset) / divisor`.
struct Position {
    factor: Dim,
    offset: Dim,
    divisor: Dim,
    /// True if the only element of a result of length 1 stands at position 0.
    single_at_start: bool,
}

fn position(filter: &Filter, a: &Axis) -> Result<Position, OpError> {
    let (p, q) = match a.scale {
        Some(scale) => {
            let (p, q) = fraction(scale)?;
            (Dim::known(p), Dim::known(q))
        }
        None => (a.to.clone(), a.from.clone()),
    };
    let (unit, two) = (Dim::known(1), Dim::known(2));
    Ok(match filter.coordinates.as_str() {
        mode @ ("half_pixel" | "pytorch_half_pixel") => Position {
            factor: &two * &q,
            offset: &q - &p,
            divisor: &two * &p,
            single_at_start: mode == "pytorch_half_pixel",
        },
        "asymmetric" => Position { factor: q, offset: Dim::known(0), divisor: p, single_at_start: false },
        "align_corners" => Position {
            factor: &a.from - &unit,
            offset: Dim::known(0),
            divisor: &a.to - &unit,
            single_at_start: false,
        },
        other => {
            let property = "coordinate_transformation_mode of a symbolic axis";
            return Err(OpError::symbolic(property, SYMBOLIC_COORDINATES, other));
        }
    })
}

/// Builds `k · (factor · i + offset) + shift` of a position for each index of the result, int64.
fn numerators(
    r: &mut Reading,
    a: &Axis,
    position: &Position,
    k: &Dim,
    shift: &Dim,
) -> Result<Value, OpError> {
    let i = r.add(Range { start: Dim::known(0), step: 1, len: a.to.clone() }, &[])?;
    let factor = r.dim_scalar(&(k * &position.factor))?;
    let scaled = r.add(Mul, &[i, factor])?;
    if !position.single_at_start {
        let offset = r.dim_scalar(&(&(k * &position.offset) + shift))?;
        return r.add(Add, &[scaled, offset]);
    }
    // min(to - 1, 1) is 0 for a single element and 1 for several.
    let offset = r.dim_scalar(&(k * &position.offset))?;
    let (others, unit) = (r.dim_scalar(&(&a.to - &Dim::known(1)))?, r.dim_scalar(&Dim::known(1))?);
    let has_others = r.add(Extremum { max: false }, &[others, unit])?;
    let offset = r.add(Mul, &[offset, has_others])?;
    let shift = r.dim_scalar(shift)?;
    let offset = r.add(Add, &[offset, shift])?;
    r.add(Add, &[scaled, offset])
}

/// Builds `max(d, 1)`, a divisor that is never 0.
fn divisor(r: &mut Reading, d: &Dim) -> Result<Value, OpError> {
    let (d, unit) = (r.dim_scalar(d)?, r.dim_scalar(&Dim::known(1))?);
    r.add(Extremum { max: true }, &[d, unit])
}

fn clamped(r: &mut Reading, v: Value, low: &Dim, high: &Dim) -> Result<Value, OpError> {
    let (low, high) = (r.dim_scalar(low)?, r.dim_scalar(high)?);
    let v = r.add(Extremum { max: true }, &[v, low])?;
    r.add(Extremum { max: false }, &[v, high])
}

/// Builds the index of the nearest element, `[to]`.
pub(super) fn nearest(r: &mut Reading, filter: &Filter, a: &Axis) -> Result<Value, OpError> {
    let at = position(filter, a)?;
    let (two, unit) = (Dim::known(2), Dim::known(1));
    // ⌊(k · (factor · i + offset) + shift) / (k · divisor)⌋, with one divisor added so that the dividend is not negative.
    let (k, shift) = match filter.rounding.as_str() {
        "floor" => (unit.clone(), Dim::known(0)),
        "ceil" => (unit.clone(), &at.divisor - &unit),
        // ⌈position - ½⌉ and ⌊position + ½⌋.
        "round_prefer_floor" => (two.clone(), &at.divisor - &unit),
        "round_prefer_ceil" => (two.clone(), at.divisor.clone()),
        other => return Err(OpError::mismatch("nearest_mode", ROUNDINGS, other)),
    };
    let by = &k * &at.divisor;
    let above = numerators(r, a, &at, &k, &(&shift + &by))?;
    let by = divisor(r, &by)?;
    let floor = r.add(Div, &[above, by])?;
    let unit_value = r.dim_scalar(&unit)?;
    let floor = r.add(Sub, &[floor, unit_value])?;
    clamped(r, floor, &Dim::known(0), &(&a.from - &unit))
}

/// Builds the indices of the two neighbours of each position and their weights, each `[to, 2]`.
pub(super) fn linear(r: &mut Reading, filter: &Filter, a: &Axis) -> Result<[Value; 2], OpError> {
    if filter.mode != Mode::Linear || filter.antialias {
        return Err(OpError::symbolic("dimension under mode cubic or antialias", "a known one", &a.from));
    }
    let at = position(filter, a)?;
    let (zero, unit) = (Dim::known(0), Dim::known(1));
    let last = &a.from - &unit;
    let numerator = numerators(r, a, &at, &unit, &zero)?;
    let numerator = clamped(r, numerator, &zero, &(&last * &at.divisor))?;
    let denominator = divisor(r, &at.divisor)?;
    let lower_index = r.add(Div, &[numerator, denominator])?;
    let step = r.dim_scalar(&unit)?;
    let upper_index = r.add(Add, &[lower_index, step])?;
    let upper_index = clamped(r, upper_index, &zero, &last)?;
    let floor = r.add(Mul, &[lower_index, denominator])?;
    let remainder = r.add(Sub, &[numerator, floor])?;
    let remainder = r.add(Cast { to: DType::F32 }, &[remainder])?;
    let denominator = r.add(Cast { to: DType::F32 }, &[denominator])?;
    let upper_weight = r.add(Div, &[remainder, denominator])?;
    let total_weight = r.add_scalar(1.0, DType::F32);
    let lower_weight = r.add(Sub, &[total_weight, upper_weight])?;
    let pair = |r: &mut Reading, parts: [Value; 2]| -> Result<Value, OpError> {
        let column = Shape(vec![a.to.clone(), Dim::known(1)]);
        let parts = [r.reshape(parts[0], column.clone())?, r.reshape(parts[1], column)?];
        r.add(Concat { axis: 1 }, &parts)
    };
    Ok([pair(r, [lower_index, upper_index])?, pair(r, [lower_weight, upper_weight])?])
}
