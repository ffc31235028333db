//! Sampling of a map at the positions of a grid. Reads `GridSample` as [`Interpolate`](super::Interpolate). Rules that
//! share relevance give the grid none; derivatives reach it.
//!
//! Shapes: x `[n, c, s₁, …]`, grid `[n, t₁, …, d]` with the position along each of the `d` spatial axes, last axis
//! first, from -1 to 1, y `[n, c, t₁, …]`.

use super::read::{Reader, Reading};
use super::sampling::{
    Taps, batches, clamped, float_dim, fraction, inside, sample, scaled, shifted, stacked,
};
use super::{Cast, Div, Mul, Slice, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Unary;
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `GridSample`. Opset 20 renames the modes bilinear and bicubic to `linear` and `cubic`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("GridSample", 16, read)]
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, grid) = (r.input(0)?, r.input(1)?);
    let (tx, tg) = (r.ty(x), r.ty(grid));
    let rank = tx.rank();
    if rank < 3 || tg.rank() != rank || !tg.dim(rank - 1).is(rank as i64 - 2) {
        return Err(OpError::mismatch("grid", format!("a position along each spatial axis of {tx}"), tg));
    }
    let mode = match r.string_or("mode", if r.opset < 20 { "bilinear" } else { "linear" })?.as_str() {
        "bilinear" | "linear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        "bicubic" | "cubic" => Mode::Cubic,
        other => return Err(OpError::mismatch("mode", "linear, nearest or cubic", other)),
    };
    let padding = match r.string_or("padding_mode", "zeros")?.as_str() {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(OpError::mismatch("padding_mode", "zeros, border or reflection", other)),
    };
    let corners = r.flag("align_corners", false)?;
    let n = tg.dim(0).clone();
    let to = &tg.shape.0[1..rank - 1];
    let samples = to.iter().fold(Dim::known(1), |n, d| &n * d);
    let mut taps = vec![];
    for axis in 2..rank {
        let column = Dim::known((rank - 1 - axis) as i64);
        let column = Slice { axis: rank - 1, start: column, len: Dim::known(1), step: 1 };
        let at = r.add(column, &[grid])?;
        let at = r.reshape(at, Shape(vec![n.clone(), samples.clone()]))?;
        let at = position(r, at, tx.dim(axis), corners)?;
        taps.push(neighbours(r, at, tx.dim(axis), mode, padding, corners)?);
    }
    let batch = batches(r, &n)?;
    let y = sample(r, x, batch, &taps)?;
    let split = Shape([&[n], to, &[tx.dim(1).clone()]].concat());
    let y = r.reshape(y, split)?;
    let perm: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok(vec![r.add(Transpose { perm }, &[y])?])
}

/// Converts grid positions to element positions. With `corners`, -1 and 1 are the centres of the outermost elements,
/// otherwise their outer edges.
fn position(r: &mut Reading, at: Value, size: &Dim, corners: bool) -> Result<Value, OpError> {
    let at = shifted(r, at, 1.0)?;
    if corners {
        let last = float_dim(r, &(size - &Dim::known(1)))?;
        let at = r.add(Mul, &[at, last])?;
        return scaled(r, at, 0.5);
    }
    let size = float_dim(r, size)?;
    let at = r.add(Mul, &[at, size])?;
    let at = shifted(r, at, -1.0)?;
    scaled(r, at, 0.5)
}

/// Mirrors positions at the outermost elements, or at their outer edges, until they lie inside.
fn mirrored(r: &mut Reading, at: Value, size: &Dim, corners: bool) -> Result<Value, OpError> {
    let border = if corners { 0.0 } else { 0.5 };
    let span = if corners { size - &Dim::known(1) } else { size.clone() };
    let span = float_dim(r, &span)?;
    let at = shifted(r, at, border)?;
    let at = r.unary(Unary::Abs, at)?;
    let period = scaled(r, span, 2.0)?;
    // The distance from the middle of a period: |span - (at mod 2 span)|.
    let periods = r.add(Div, &[at, period])?;
    let (offset, _) = fraction(r, periods)?;
    let offset = r.add(Mul, &[offset, period])?;
    let from_far_edge = r.add(Sub, &[span, offset])?;
    let from_far_edge = r.unary(Unary::Abs, from_far_edge)?;
    let at = r.add(Sub, &[span, from_far_edge])?;
    let at = shifted(r, at, -border)?;
    let last = float_dim(r, &(size - &Dim::known(1)))?;
    clamped(r, at, last)
}

/// Returns the two elements around each position along one axis, and their linear weights. Elements outside are 0.
pub(super) fn zero_padded(r: &mut Reading, at: Value, size: &Dim) -> Result<Taps, OpError> {
    neighbours(r, at, size, Mode::Linear, Padding::Zeros, false)
}

/// Returns the elements around each position along one axis, and their weights.
fn neighbours(
    r: &mut Reading,
    at: Value,
    size: &Dim,
    mode: Mode,
    padding: Padding,
    corners: bool,
) -> Result<Taps, OpError> {
    let last = float_dim(r, &(size - &Dim::known(1)))?;
    // A cubic filter reads beyond the edge even for positions inside, so its elements are moved inside, not the position.
    let at = match padding {
        _ if mode == Mode::Cubic => at,
        Padding::Zeros => at,
        Padding::Border => clamped(r, at, last)?,
        Padding::Reflection => mirrored(r, at, size, corners)?,
    };
    let (upper_weight, floor) = fraction(r, at)?;
    let elements: Vec<(Value, Value)> = match mode {
        Mode::Nearest => {
            let nearest = r.unary(Unary::Round, at)?;
            let zeros = scaled(r, upper_weight, 0.0)?;
            vec![(nearest, shifted(r, zeros, 1.0)?)]
        }
        Mode::Linear => {
            let unit = r.add_scalar(1.0, DType::F32);
            let lower_weight = r.add(Sub, &[unit, upper_weight])?;
            vec![(floor, lower_weight), (shifted(r, floor, 1.0)?, upper_weight)]
        }
        Mode::Cubic => {
            let mut taps = vec![];
            for k in -1..=2 {
                let d = shifted(r, upper_weight, -f64::from(k))?;
                taps.push((shifted(r, floor, f64::from(k))?, cubic(r, d, k == 0 || k == 1)?));
            }
            taps
        }
    };
    let zero = r.add_scalar(0.0, DType::F32);
    let (mut indices, mut weights) = (vec![], vec![]);
    for (i, mut w) in elements {
        let index = match padding {
            Padding::Zeros => {
                let within = inside(r, i, zero, last)?;
                w = r.add(Mul, &[w, within])?;
                clamped(r, i, last)?
            }
            Padding::Reflection if mode == Mode::Cubic => mirrored(r, i, size, corners)?,
            Padding::Border | Padding::Reflection => clamped(r, i, last)?,
        };
        indices.push(index);
        weights.push(w);
    }
    let indices = stacked(r, &indices)?;
    let indices = r.add(Cast { to: DType::I64 }, &[indices])?;
    Ok(Taps { indices, weights: stacked(r, &weights)? })
}

/// Builds the cubic convolution kernel with coefficient -0.75 at distance `d`, which is at most 1 if `near`, otherwise
/// 1 to 2.
fn cubic(r: &mut Reading, d: Value, near: bool) -> Result<Value, OpError> {
    const A: f64 = -0.75;
    let d = r.unary(Unary::Abs, d)?;
    let coefficients: [f64; 4] =
        if near { [A + 2.0, -(A + 3.0), 0.0, 1.0] } else { [A, -5.0 * A, 8.0 * A, -4.0 * A] };
    let mut y = scaled(r, d, coefficients[0])?;
    y = shifted(r, y, coefficients[1])?;
    for c in &coefficients[2..] {
        y = r.add(Mul, &[y, d])?;
        y = shifted(r, y, *c)?;
    }
    Ok(y)
}
