//! Pooling of boxes of a map. Reads `RoiAlign` as an [`Interpolate`](super::Interpolate). A cell of a box is the mean
//! of its samples, or the largest weighted element that one of them reads (not the largest sample: this follows ONNX
//! Runtime and the operator's reference). The boxes take no relevance.
//!
//! With `sampling_ratio` 0, the number of samples per cell and axis is the number of elements that the cell spans,
//! rounded up. The largest number over all boxes is a data-dependent dimension; surplus samples of smaller boxes have
//! weight 0.
//!
//! Shapes: x `[n, c, h, w]`, boxes `[r, 4]` as `(x₁, y₁, x₂, y₂)`, batch indices `[r]`, y `[r, c, height, width]`.

use super::read::{Reader, Reading};
use super::sampling::{
    Taps, clamped, combined, float_dim, fraction, inside, repeated, rows, sample, scaled, shifted, stacked,
};
use super::{
    Add, Cast, Concat, Div, Extremum, Interpolate, Mul, Range, Reduce, ReduceKind, Slice, Sub, Transpose,
};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape, Tensor};

/// Returns the reader of `RoiAlign`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("RoiAlign", 10, read)]
}

/// Sampling parameters that both axes share.
struct Grid {
    /// True if boxes are shifted by half a pixel.
    half: bool,
    /// Number of samples per cell along an axis; `None` for the number that each box needs.
    samples: Option<usize>,
    /// True if a cell is the largest element that it reads, false for the mean.
    max: bool,
    scale: f64,
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, boxes, batch) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (ty, boxes_ty) = (r.ty(x), r.ty(boxes));
    if ty.rank() != 4 || boxes_ty.rank() != 2 || !boxes_ty.dim(1).is(4) {
        let actual = format!("{ty} and {boxes_ty}");
        return Err(OpError::mismatch("operands", "x of rank 4 and boxes [r,4]", actual));
    }
    let by_default = if r.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let half = match r.string_or("coordinate_transformation_mode", by_default)?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(OpError::mismatch("coordinate_transformation_mode", "a half_pixel mode", other)),
    };
    let max = match r.string_or("mode", "avg")?.as_str() {
        "avg" => false,
        "max" => true,
        other => return Err(OpError::mismatch("mode", "avg or max", other)),
    };
    let size = |r: &Reading, name: &str| -> Result<usize, OpError> {
        let v = r.int_or(name, 1)?;
        let size = usize::try_from(v).ok().filter(|v| (1..1 << 16).contains(v));
        size.ok_or_else(|| OpError::mismatch(name, "1..65536", v))
    };
    let (height, width) = (size(r, "output_height")?, size(r, "output_width")?);
    let ratio = r.int_or("sampling_ratio", 0)?;
    let samples = usize::try_from(ratio).ok().filter(|s| *s < 1 << 10);
    let samples = samples.ok_or_else(|| OpError::mismatch("sampling_ratio", "0..1024", ratio))?;
    let samples = (samples > 0).then_some(samples);
    let grid = Grid { half, samples, max, scale: f64::from(r.float_or("spatial_scale", 1.0)?) };
    let rows = axis(r, &grid, boxes, 1, height, ty.dim(2))?;
    let columns = axis(r, &grid, boxes, 0, width, ty.dim(3))?;
    // Taps of rows and columns are repeated to those of all cells.
    let n = boxes_ty.dim(0).clone();
    let cells = Dim::known((height * width) as i64);
    let spread = |r: &mut Reading, v: Value, along: bool| -> Result<Value, OpError> {
        let (h, w) = (Dim::known(height as i64), Dim::known(width as i64));
        let (unit, taps) = (Dim::known(1), r.ty(v).dim(2).clone());
        let from = if along { [n.clone(), h.clone(), unit] } else { [n.clone(), unit, w.clone()] };
        let v = r.reshape(v, Shape([from.to_vec(), vec![taps.clone()]].concat()))?;
        let to = Shape(vec![n.clone(), h, w, taps.clone()]);
        let v = repeated(r, v, to)?;
        r.reshape(v, Shape(vec![n.clone(), cells.clone(), taps]))
    };
    let mut taps_by_axis = vec![];
    for (taps, along) in [(rows, true), (columns, false)] {
        taps_by_axis.push(Taps {
            indices: spread(r, taps.indices, along)?,
            weights: spread(r, taps.weights, along)?,
        });
    }
    let batch = r.add(Cast { to: DType::I64 }, &[batch])?;
    let y =
        if max { largest_element(r, x, batch, &taps_by_axis)? } else { sample(r, x, batch, &taps_by_axis)? };
    let split = Shape(vec![
        boxes_ty.dim(0).clone(),
        Dim::known(height as i64),
        Dim::known(width as i64),
        ty.dim(1).clone(),
    ]);
    let y = r.reshape(y, split)?;
    Ok(vec![r.add(Transpose { perm: vec![0, 3, 1, 2] }, &[y])?])
}

/// Builds the taps along one axis, `[boxes, cells, 2 · samples]`; each weight is a share of the cell's mean.
fn axis(
    r: &mut Reading,
    grid: &Grid,
    boxes: Value,
    axis: i64,
    cells: usize,
    size: &Dim,
) -> Result<Taps, OpError> {
    let n = r.ty(boxes).dim(0).clone();
    let corner = |r: &mut Reading, at: i64| -> Result<Value, OpError> {
        let column = Slice { axis: 1, start: Dim::known(at), len: Dim::known(1), step: 1 };
        let v = r.add(column, &[boxes])?;
        let v = scaled(r, v, grid.scale)?;
        if grid.half { shifted(r, v, -0.5) } else { Ok(v) }
    };
    let (start, end) = (corner(r, axis)?, corner(r, axis + 2)?);
    let mut length = r.add(Sub, &[end, start])?;
    if !grid.half {
        let unit = r.add_scalar(1.0, DType::F32);
        length = r.add(Extremum { max: true }, &[length, unit])?;
    }
    let Samples { along, weight, samples } = samples_along(r, grid, length, cells)?;
    let at = r.add(Add, &[start, along])?;
    // Samples more than a pixel outside of the map are 0.
    let (low, high) = (r.add_scalar(-1.0, DType::F32), float_dim(r, size)?);
    let within = inside(r, at, low, high)?;
    let last = float_dim(r, &(size - &Dim::known(1)))?;
    let at = clamped(r, at, last)?;
    let (upper, floor) = fraction(r, at)?;
    let unit = r.add_scalar(1.0, DType::F32);
    let lower = r.add(Sub, &[unit, upper])?;
    let next = shifted(r, floor, 1.0)?;
    let next = clamped(r, next, last)?;
    let shape = Shape(vec![n, Dim::known(cells as i64), &Dim::known(2) * &samples]);
    let mut weights = vec![];
    for w in [lower, upper] {
        let w = r.add(Mul, &[w, within])?;
        weights.push(r.add(Mul, &[w, weight])?);
    }
    let weights = stacked(r, &weights)?;
    let indices = stacked(r, &[floor, next])?;
    let indices = r.add(Cast { to: DType::I64 }, &[indices])?;
    Ok(Taps { indices: r.reshape(indices, shape.clone())?, weights: r.reshape(weights, shape)? })
}

/// Positions of the samples of all boxes along an axis.
struct Samples {
    /// Distance from the start of the box: `[boxes, cells · samples]`.
    along: Value,
    /// Weight of each sample, of a shape that broadcasts to that of `along`.
    weight: Value,
    /// Number of samples per cell.
    samples: Dim,
}

/// Builds the samples of boxes of `length [boxes, 1]`, in the middle of equal parts of each cell.
fn samples_along(r: &mut Reading, grid: &Grid, length: Value, cells: usize) -> Result<Samples, OpError> {
    let weight_of = |samples: usize| if grid.max { 1.0 } else { 1.0 / samples as f64 };
    if let Some(samples) = grid.samples {
        let parts = samples * cells;
        let middles: Vec<f32> = (0..parts).map(|i| (i as f32 + 0.5) / parts as f32).collect();
        let middles = r.add_constant(Tensor::from_f32(&[1, parts], &middles));
        let weight = r.add_scalar(weight_of(samples), DType::F32);
        return Ok(Samples {
            along: r.add(Mul, &[length, middles])?,
            weight,
            samples: Dim::known(samples as i64),
        });
    }
    let n = r.ty(length).dim(0).clone();
    let cell = scaled(r, length, 1.0 / cells as f64)?;
    let cell = r.reshape(cell, Shape(vec![n.clone(), Dim::known(1), Dim::known(1)]))?;
    let (zero, unit) = (r.add_scalar(0.0, DType::F32), r.add_scalar(1.0, DType::F32));
    // Number of samples of each box: 0 if it has no extent.
    let counts = r.unary(Unary::Ceil, cell)?;
    let counts = r.add(Extremum { max: true }, &[counts, zero])?;
    let flat = r.reshape(counts, Shape(vec![n.clone()]))?;
    let minimum = r.add_constant(Tensor::from_f32(&[1], &[1.0]));
    let bounded = r.add(Concat { axis: 0 }, &[flat, minimum])?;
    let largest = r.add(Reduce { kind: ReduceKind::Max, axes: vec![0], keep: false }, &[bounded])?;
    let samples = r.dim_of(largest, "samples")?;
    let i = r.add(Range { start: Dim::known(0), step: 1, len: samples.clone() }, &[])?;
    let i = r.add(Cast { to: DType::F32 }, &[i])?;
    let i = r.reshape(i, Shape(vec![Dim::known(1), Dim::known(1), samples.clone()]))?;
    let divisor = r.add(Extremum { max: true }, &[counts, unit])?;
    let last = shifted(r, divisor, -1.0)?;
    // Surplus samples repeat the last one, which does not change a maximum.
    let within = r.add(Extremum { max: false }, &[i, last])?;
    let within = shifted(r, within, 0.5)?;
    let within = r.add(Div, &[within, divisor])?;
    let numbers: Vec<f32> = (0..cells).map(|c| c as f32).collect();
    let numbers = r.add_constant(Tensor::from_f32(&[1, cells, 1], &numbers));
    let position = r.add(Add, &[within, numbers])?;
    let along = r.add(Mul, &[position, cell])?;
    let index = if grid.max { zero } else { i };
    let exists = r.compare(Binary::Less, index, counts)?;
    let exists = r.add(Cast { to: DType::F32 }, &[exists])?;
    let weight = if grid.max { exists } else { r.add(Div, &[exists, divisor])? };
    let shape = [n.clone(), Dim::known(cells as i64), samples.clone()];
    let flat = Shape(vec![n, &shape[1] * &samples]);
    let weight = repeated(r, weight, Shape(shape.to_vec()))?;
    Ok(Samples { along: r.reshape(along, flat.clone())?, weight: r.reshape(weight, flat)?, samples })
}

/// Builds the largest weighted element of each cell: `[boxes, cells, c]`.
fn largest_element(r: &mut Reading, x: Value, batch: Value, taps: &[Taps]) -> Result<Value, OpError> {
    let rows = rows(r, x)?;
    let taps = combined(r, x, batch, taps)?;
    let shape = r.ty(taps.indices).shape;
    let flat = Shape(vec![shape.0[0].clone(), &shape.0[1] * &shape.0[2], Dim::known(1)]);
    let (at, weights) = (r.reshape(taps.indices, flat.clone())?, r.reshape(taps.weights, flat)?);
    let elements = r.add(Interpolate { axes: vec![0] }, &[rows, at, weights])?;
    let channels = r.ty(x).dim(1).clone();
    let elements = r.reshape(elements, Shape([shape.0, vec![channels]].concat()))?;
    r.add(Reduce { kind: ReduceKind::Max, axes: vec![2], keep: false }, &[elements])
}
