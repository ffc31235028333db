//! Resampling along axes. Reads ONNX `Resize` and `Upsample`.
//!
//! Mode `nearest` is read as a [`Gather`](super::Gather) per axis, modes `linear` and `cubic` as [`Interpolate`].
//! Indices and weights of symbolic axes are computed in the graph.

mod symbolic;
mod taps;

use super::read::{Reader, Reading, resolve};
use super::{Add, Interpolate, Mul};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Dim, Tensor};
use taps::{Filter, Mode, Sampling};

/// Returns the readers of `Resize` and `Upsample`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Resize", 10, read), Reader { domain: "", op: "Upsample", since: 7, until: 9, read }]
}

/// Resized axis.
struct Axis {
    /// Index of the axis, in `0..rank`.
    axis: usize,
    /// Dimension of the operand.
    from: Dim,
    /// Dimension of the result.
    to: Dim,
    /// Scale in the file; `None` if it has sizes.
    scale: Option<f32>,
    /// Cropped region of the operand, from 0 to 1.
    roi: (f32, f32),
}

/// Reads a resampling.
pub(super) fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let filter = filter(r)?;
    let axes = axes(r, x)?;
    let known = |d: &Dim| d.as_known().and_then(|d| usize::try_from(d).ok());
    if filter.mode == Mode::Nearest {
        let mut y = x;
        for a in axes {
            let indices = match (known(&a.from), known(&a.to)) {
                (Some(from), Some(to)) => {
                    check(r, from, to)?;
                    let scale = a.scale.unwrap_or(to as f32 / from as f32);
                    let indices = filter.nearest(&Sampling { from, to, scale, roi: a.roi })?;
                    r.add_constant(Tensor::from_i64(&[to], &indices))
                }
                _ => symbolic::nearest(r, &filter, &a)?,
            };
            y = r.add(super::Gather { axis: a.axis }, &[y, indices])?;
        }
        return Ok(vec![y]);
    }
    if axes.is_empty() {
        return Ok(vec![x]);
    }
    let mut operands = vec![x];
    let mut inside = vec![];
    for a in &axes {
        match (known(&a.from), known(&a.to)) {
            (Some(from), Some(to)) => {
                check(r, from, to)?;
                let scale = a.scale.unwrap_or(to as f32 / from as f32);
                let taps = filter.taps(&Sampling { from, to, scale, roi: a.roi })?;
                let shape = [to, taps.count];
                operands.push(r.add_constant(Tensor::from_i64(&shape, &taps.indices)));
                operands.push(r.add_constant(Tensor::from_f32(&shape, &taps.weights)));
                inside.push((a.axis, taps.inside));
            }
            _ => operands.extend(symbolic::linear(r, &filter, a)?),
        }
    }
    let y = r.add(Interpolate { axes: axes.iter().map(|a| a.axis).collect() }, &operands)?;
    Ok(vec![extrapolated(r, y, &inside, filter.extrapolation)?])
}

/// Replaces elements outside of the operand by a constant.
fn extrapolated(
    r: &mut Reading,
    y: Value,
    inside: &[(usize, Vec<bool>)],
    value: f32,
) -> Result<Value, OpError> {
    if inside.iter().all(|(_, inside)| inside.iter().all(|i| *i)) {
        return Ok(y);
    }
    let rank = r.ty(y).rank();
    let mut mask = r.add_scalar(1.0, r.ty(y).dtype);
    for (axis, inside) in inside {
        let mut shape = vec![1; rank];
        shape[*axis] = inside.len();
        let flags: Vec<f32> = inside.iter().map(|i| f32::from(u8::from(*i))).collect();
        let flags = r.add_constant(Tensor::from_f32(&shape, &flags));
        mask = r.add(Mul, &[mask, flags])?;
    }
    let y = r.add(Mul, &[y, mask])?;
    let unit = r.add_scalar(1.0, r.ty(y).dtype);
    let value = r.add_scalar(f64::from(value), r.ty(y).dtype);
    let outside = r.add(super::Sub, &[unit, mask])?;
    let outside = r.add(Mul, &[outside, value])?;
    r.add(Add, &[y, outside])
}

fn check(r: &Reading, from: usize, to: usize) -> Result<(), OpError> {
    if from == 0 {
        return Err(OpError::mismatch("size of a resized axis", "at least 1", from));
    }
    if to == 0 || to >= 1 << 31 {
        return Err(OpError::mismatch("size of an axis", "1..2^31", to));
    }
    let bytes = to as u64 * 8;
    if bytes > r.max_tensor_bytes {
        let what = format!("a table of {to} positions");
        return Err(OpError::TensorBytes { what, bytes, limit: r.max_tensor_bytes });
    }
    Ok(())
}

/// Returns whether the node follows the definition up to opset 10, which has a single coordinate transformation.
fn is_first(r: &Reading) -> bool {
    r.op == "Upsample" || r.opset < 11
}

fn filter(r: &Reading) -> Result<Filter, OpError> {
    let by_default = if is_first(r) { ("asymmetric", "floor") } else { ("half_pixel", "round_prefer_floor") };
    Ok(Filter {
        mode: match r.string_or("mode", "nearest")?.as_str() {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" => Mode::Cubic,
            other => return Err(OpError::mismatch("mode", "nearest, linear or cubic", other)),
        },
        coordinates: r.string_or("coordinate_transformation_mode", by_default.0)?,
        rounding: r.string_or("nearest_mode", by_default.1)?,
        cubic: r.float_or("cubic_coeff_a", -0.75)?,
        exclude_outside: r.flag("exclude_outside", false)?,
        antialias: r.flag("antialias", false)?,
        extrapolation: r.float_or("extrapolation_value", 0.0)?,
    })
}

/// Reads the axes whose size changes or may change.
fn axes(r: &mut Reading, x: Value) -> Result<Vec<Axis>, OpError> {
    let rank = r.ty(x).rank();
    let first = is_first(r);
    let axes = match r.ints("axes")? {
        Some(axes) => axes.iter().map(|a| resolve(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    // The operator of com.microsoft.nchwc has whole numbers.
    let whole = |_| Ok(r.ints("scales")?.map(|scales| scales.iter().map(|s| *s as f32).collect()));
    let scales = match (r.floats("scales").or_else(whole)?, r.optional(if first { 1 } else { 2 })) {
        (Some(scales), _) => scales,
        (None, Some(v)) => r.floats_of(v, "scales")?,
        (None, None) => vec![],
    };
    let sizes = match r.optional(3) {
        Some(v) => r.dims_of(v, "sizes")?,
        None => vec![],
    };
    for (name, len) in [("scales", scales.len()), ("sizes", sizes.len())] {
        if len != 0 && len != axes.len() {
            return Err(OpError::mismatch(name, format!("{} values", axes.len()), len));
        }
    }
    if scales.is_empty() == sizes.is_empty() {
        return Err(OpError::invalid(
            "scales and sizes",
            "one of them",
            if sizes.is_empty() { "none" } else { "both" },
        ));
    }
    let crops = r.string_or("coordinate_transformation_mode", "")? == "tf_crop_and_resize";
    let roi = match r.optional(1) {
        Some(v) if crops => r.floats_of(v, "roi")?,
        _ => vec![],
    };
    if crops && roi.len() != 2 * axes.len() {
        return Err(OpError::mismatch("roi", format!("{} values", 2 * axes.len()), roi.len()));
    }
    let policy = r.string_or("keep_aspect_ratio_policy", "stretch")?;
    let common = common_scale(r, x, &policy, &axes, &sizes)?;
    let mut resized = vec![];
    for (k, axis) in axes.iter().enumerate() {
        let from = r.ty(x).dim(*axis).clone();
        let roi = if crops { (roi[k], roi[axes.len() + k]) } else { (0.0, 1.0) };
        let scale = scales.get(k).copied().or(common);
        if !crops && (scale == Some(1.0) || (scale.is_none() && sizes.get(k) == Some(&from))) {
            continue;
        }
        if let Some(s) = scale.filter(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(OpError::mismatch("scales", "positive values", s));
        }
        if let Some(s) = scale.filter(|s| first && *s < 1.0) {
            return Err(OpError::unsupported("scales before opset 11", "at least 1", s));
        }
        let to = match (scale, from.as_known(), common) {
            (Some(s), Some(d), Some(_)) => Dim::known((d as f32 * s).round() as i64),
            (Some(s), Some(d), None) => Dim::known((d as f32 * s).floor() as i64),
            (Some(s), None, _) => symbolic::scaled(&from, s)?,
            (None, ..) => sizes[k].clone(),
        };
        resized.push(Axis { axis: *axis, from, to, scale, roi });
    }
    Ok(resized)
}

/// Returns the scale of all axes under a policy that keeps the aspect ratio; `None` for policy `stretch`.
fn common_scale(
    r: &Reading,
    x: Value,
    policy: &str,
    axes: &[usize],
    sizes: &[Dim],
) -> Result<Option<f32>, OpError> {
    let smallest = match policy {
        "stretch" => return Ok(None),
        "not_larger" => true,
        "not_smaller" => false,
        other => {
            return Err(OpError::mismatch(
                "keep_aspect_ratio_policy",
                "stretch, not_larger or not_smaller",
                other,
            ));
        }
    };
    if sizes.is_empty() {
        return Ok(None);
    }
    let ty = r.ty(x);
    let scales: Option<Vec<f32>> = axes
        .iter()
        .zip(sizes)
        .map(|(a, s)| Some(s.as_known()? as f32 / ty.dim(*a).as_known()? as f32))
        .collect();
    let scales = scales.ok_or_else(|| {
        OpError::symbolic("keep_aspect_ratio_policy", "stretch where dimensions are symbolic", policy)
    })?;
    Ok(scales.into_iter().reduce(|a, b| if smallest { a.min(b) } else { a.max(b) }))
}
