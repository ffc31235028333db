//! Nearest-neighbour resampling: every axis of the result takes elements of the operand by index.
//!
//! Reads ONNX `Resize` and `Upsample` in mode `nearest` as [`Gather`](super::Gather) by axis; the indices follow from the
//! sizes, so resized axes must be known when compiling.

use super::read::{Reader, Reading, resolve};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::Tensor;

/// Readers of `Resize` and `Upsample`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("Resize", 10, read), Reader { domain: "", op: "Upsample", since: 7, until: 9, read }]
}

/// How an index of the result becomes one of the operand.
struct Sampling {
    coordinates: String,
    rounding: String,
}

impl Sampling {
    /// The indices of an axis of `input` elements resized to `output`. In single precision, as ONNX Runtime does: at a
    /// tie, a wider type would round to the other neighbour.
    fn indices(&self, input: usize, output: usize, scale: f32) -> Result<Vec<i64>, OpError> {
        let one = |i: usize| {
            let i = i as f32;
            let at = match self.coordinates.as_str() {
                "pytorch_half_pixel" if output == 1 => 0.0,
                "half_pixel" | "pytorch_half_pixel" => (i + 0.5) / scale - 0.5,
                "asymmetric" => i / scale,
                "align_corners" if output == 1 => 0.0,
                "align_corners" => i * (input - 1) as f32 / (output - 1) as f32,
                other => return Err(unsupported("coordinate_transformation_mode", other)),
            };
            let nearest = match self.rounding.as_str() {
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                other => return Err(OpError::mismatch("nearest_mode", "a rounding", other)),
            };
            Ok((nearest as i64).clamp(0, input as i64 - 1))
        };
        (0..output).map(one).collect()
    }
}

fn unsupported(attribute: &str, value: &str) -> OpError {
    OpError::Unsupported(format!("{attribute} = {value} is not supported"))
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    // These concern other modes than `nearest`.
    r.ignore(&["cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias"]);
    let mut x = r.input(0)?;
    let rank = r.ty(x).rank();
    let mode = r.string_or("mode", "nearest")?;
    if mode != "nearest" {
        return Err(unsupported("mode", &mode));
    }
    let policy = r.string_or("keep_aspect_ratio_policy", "stretch")?;
    if policy != "stretch" {
        return Err(unsupported("keep_aspect_ratio_policy", &policy));
    }
    // Up to opset 10 there is one rule.
    let first = r.op == "Upsample" || r.opset < 11;
    let by_default = if first { ("asymmetric", "floor") } else { ("half_pixel", "round_prefer_floor") };
    let sampling = Sampling {
        coordinates: r.string_or("coordinate_transformation_mode", by_default.0)?,
        rounding: r.string_or("nearest_mode", by_default.1)?,
    };
    let axes = match r.ints("axes")? {
        Some(axes) => axes.iter().map(|a| resolve(*a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let operand = if first { 1 } else { 2 };
    let scales = match (r.floats("scales")?, r.optional(operand)) {
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
        return Err(OpError::Invalid("either scales or sizes must be given".into()));
    }
    for (k, axis) in axes.into_iter().enumerate() {
        let dim = r.ty(x).dim(axis).clone();
        if scales.get(k) == Some(&1.0) || sizes.get(k) == Some(&dim) {
            continue;
        }
        let size = dim.as_known().and_then(|d| usize::try_from(d).ok()).filter(|d| *d > 0);
        let output = match (scales.get(k), sizes.get(k)) {
            (Some(s), _) if !(s.is_finite() && *s > 0.0) => {
                return Err(OpError::mismatch("scales", "positive values", s));
            }
            (Some(s), _) => size.map(|d| (d as f32 * s).floor() as usize),
            (None, Some(to)) => to.as_known().and_then(|d| usize::try_from(d).ok()),
            (None, None) => None,
        };
        let (Some(size), Some(output)) = (size, output) else {
            return Err(OpError::Unsupported(format!(
                "resizing an axis of dimension {dim} is not supported; `--shape` can fix it"
            )));
        };
        if output == 0 || output >= 1 << 31 {
            return Err(OpError::mismatch("size of an axis", "1..2^31", output));
        }
        let scale = scales.get(k).copied().unwrap_or(output as f32 / size as f32);
        if first && scale < 1.0 {
            return Err(OpError::Unsupported("a scale below 1 before opset 11 is not supported".into()));
        }
        if output as u64 * 8 > r.max_tensor_bytes {
            return Err(OpError::Limit(format!(
                "an axis of {output} elements is too long (`--max-tensor-bytes`)"
            )));
        }
        let indices = sampling.indices(size, output, scale)?;
        let indices = r.add_constant(Tensor::from_i64(&[output], &indices));
        x = r.add(super::Gather { axis }, &[x, indices])?;
    }
    Ok(vec![x])
}
