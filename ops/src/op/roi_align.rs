//! `RoiAlign`: each box of a map, sampled on a grid and averaged over cells. Read as an
//! [`Interpolate`](super::Interpolate); where the boxes lie takes no relevance.
//!
//! Shapes: x `[n, c, h, w]`, boxes `[r, 4]` as (x₁, y₁, x₂, y₂), batch indices `[r]`, y `[r, c, height, width]`.

use super::read::{Reader, Reading};
use super::sampling::{Taps, clamped, float_dim, fraction, inside, sample, scaled, shifted, stacked};
use super::{Add, Cast, Extremum, Mul, Slice, Sub, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape, Tensor};

/// The reader.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("RoiAlign", 10, read)]
}

/// What the axes have in common.
struct Grid {
    /// Boxes are shifted by half a pixel.
    half: bool,
    /// Samples of a cell, along an axis.
    samples: usize,
    scale: f64,
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, boxes, batch) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (ty, of) = (r.ty(x), r.ty(boxes));
    if ty.rank() != 4 || of.rank() != 2 || !of.dim(1).is(4) {
        return Err(OpError::mismatch("operands", "x of rank 4 and boxes [r,4]", format!("{ty} and {of}")));
    }
    let by_default = if r.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let half = match r.string_or("coordinate_transformation_mode", by_default)?.as_str() {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return Err(OpError::mismatch("coordinate_transformation_mode", "a half_pixel mode", other)),
    };
    let mode = r.string_or("mode", "avg")?;
    if mode != "avg" {
        return Err(OpError::Unsupported(format!("mode = {mode} is not supported")));
    }
    let size = |r: &Reading, name: &str| -> Result<usize, OpError> {
        let v = r.int_or(name, 1)?;
        let size = usize::try_from(v).ok().filter(|v| (1..1 << 16).contains(v));
        size.ok_or_else(|| OpError::mismatch(name, "1..65536", v))
    };
    let (height, width) = (size(r, "output_height")?, size(r, "output_width")?);
    let samples = match r.int_or("sampling_ratio", 0)? {
        0 => {
            return Err(OpError::Unsupported(
                "sampling_ratio = 0, as many as a box needs, is not supported".into(),
            ));
        }
        s => usize::try_from(s).ok().filter(|s| *s < 1 << 10),
    };
    let samples = samples.ok_or_else(|| OpError::Invalid("sampling_ratio is out of range".into()))?;
    let grid = Grid { half, samples, scale: f64::from(r.float_or("spatial_scale", 1.0)?) };
    let rows = axis(r, &grid, boxes, 1, height, ty.dim(2))?;
    let columns = axis(r, &grid, boxes, 0, width, ty.dim(3))?;
    // Every row of cells meets every column.
    let (n, taps) = (of.dim(0).clone(), Dim::known(2 * samples as i64));
    let cells = Dim::known((height * width) as i64);
    let spread = |r: &mut Reading, v: Value, along: bool| -> Result<Value, OpError> {
        let (h, w) = (Dim::known(height as i64), Dim::known(width as i64));
        let one = Dim::known(1);
        let from = if along { [n.clone(), h.clone(), one] } else { [n.clone(), one, w.clone()] };
        let v = r.reshape(v, Shape([from.to_vec(), vec![taps.clone()]].concat()))?;
        let to = Shape(vec![n.clone(), h, w, taps.clone()]);
        let v = super::sampling::repeated(r, v, to)?;
        r.reshape(v, Shape(vec![n.clone(), cells.clone(), taps.clone()]))
    };
    let mut all = vec![];
    for (taps, along) in [(rows, true), (columns, false)] {
        all.push(Taps { indices: spread(r, taps.indices, along)?, weights: spread(r, taps.weights, along)? });
    }
    let batch = r.add(Cast { to: DType::I64 }, &[batch])?;
    let y = sample(r, x, batch, &all)?;
    let split = Shape(vec![
        of.dim(0).clone(),
        Dim::known(height as i64),
        Dim::known(width as i64),
        ty.dim(1).clone(),
    ]);
    let y = r.reshape(y, split)?;
    Ok(vec![r.add(Transpose { perm: vec![0, 3, 1, 2] }, &[y])?])
}

/// The taps along one axis: `[boxes, cells, 2 · samples]`, each weight a share of the cell's mean.
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
        let one = r.add_scalar(1.0, DType::F32);
        length = r.add(Extremum { max: true }, &[length, one])?;
    }
    // Samples lie in the middle of equal parts of a cell.
    let places: Vec<f32> =
        (0..cells * grid.samples).map(|i| (i as f32 + 0.5) / (grid.samples * cells) as f32).collect();
    let places = r.add_constant(Tensor::from_f32(&[1, places.len()], &places));
    let along = r.add(Mul, &[length, places])?;
    let at = r.add(Add, &[start, along])?;
    // Beyond a pixel outside of the map a sample counts as 0.
    let (low, high) = (r.add_scalar(-1.0, DType::F32), float_dim(r, size)?);
    let within = inside(r, at, low, high)?;
    let last = float_dim(r, &(size - &Dim::known(1)))?;
    let at = clamped(r, at, last)?;
    let (upper, floor) = fraction(r, at)?;
    let one = r.add_scalar(1.0, DType::F32);
    let lower = r.add(Sub, &[one, upper])?;
    let next = shifted(r, floor, 1.0)?;
    let next = clamped(r, next, last)?;
    let shape = Shape(vec![n, Dim::known(cells as i64), Dim::known(2 * grid.samples as i64)]);
    let mut weights = vec![];
    for w in [lower, upper] {
        let w = r.add(Mul, &[w, within])?;
        weights.push(scaled(r, w, 1.0 / grid.samples as f64)?);
    }
    let weights = stacked(r, &weights)?;
    let indices = stacked(r, &[floor, next])?;
    let indices = r.add(Cast { to: DType::I64 }, &[indices])?;
    Ok(Taps { indices: r.reshape(indices, shape.clone())?, weights: r.reshape(weights, shape)? })
}
