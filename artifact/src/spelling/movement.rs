//! Data movement.

use dlbc_ops::prim::PadMode;
use dlbc_ops::tensor::{DType, Dim, Shape, TensorType};
use dlbc_proto::write::{attr_int, attr_string};

use super::Spelled;
use crate::onnx_builder::OnnxBuilder;

/// The same elements under another shape. A dimension that stays where it is is kept, one other is left to be found out.
pub(super) fn reshape(s: &mut OnnxBuilder, x: &str, from: &[Dim], to: &[Dim]) -> Spelled {
    if to.iter().any(|d| d.is(0)) {
        let to = s.vector(to)?;
        return Ok(s.add("Reshape", &[x, &to], vec![attr_int("allowzero", 1)]));
    }
    let kept = |i: usize| to[i].as_known().is_none() && from.get(i) == Some(&to[i]);
    let found = (0..to.len()).rev().find(|i| to[*i].as_known().is_none() && !kept(*i));
    let entry = |i: usize| match i {
        _ if kept(i) => Dim::known(0),
        _ if Some(i) == found => Dim::known(-1),
        _ => to[i].clone(),
    };
    let to = s.vector(&(0..to.len()).map(entry).collect::<Vec<_>>())?;
    Ok(s.add("Reshape", &[x, &to], vec![]))
}

pub(super) fn expand(s: &mut OnnxBuilder, x: &str, from: &Shape, to: &Shape) -> Spelled {
    // 1 keeps a dimension.
    let lead = to.rank() - from.rank();
    let entry =
        |(i, d): (usize, &Dim)| if i >= lead && from.0[i - lead] == *d { Dim::known(1) } else { d.clone() };
    let to = s.vector(&to.0.iter().enumerate().map(entry).collect::<Vec<_>>())?;
    Ok(s.add("Expand", &[x, &to], vec![]))
}

/// `start, start + step, …` along an axis of dimension `dim`.
pub(super) fn slice(
    s: &mut OnnxBuilder,
    x: &str,
    axis: usize,
    dim: &Dim,
    start: &Dim,
    len: &Dim,
    step: i64,
) -> Spelled {
    let end = start + &(len * &Dim::known(step));
    let end = match end.as_known() {
        _ if step > 0 && end == *dim => Dim::known(i64::MAX),
        Some(e) if e < 0 => Dim::known(i64::MIN + 1),
        Some(_) => end,
        None if step > 0 => end,
        // Whether a backward slice runs into the start only a run can tell: cut its span, then turn it.
        None => {
            let one = Dim::known(1);
            let first = start + &(&(len - &one) * &Dim::known(step));
            let span = slice_nodes(s, x, axis, &first, &(start + &one), 1)?;
            return slice_nodes(s, &span, axis, &Dim::known(-1), &Dim::known(i64::MIN + 1), step);
        }
    };
    slice_nodes(s, x, axis, start, &end, step)
}

fn slice_nodes(s: &mut OnnxBuilder, x: &str, axis: usize, start: &Dim, end: &Dim, step: i64) -> Spelled {
    let starts = s.vector(std::slice::from_ref(start))?;
    let ends = s.vector(std::slice::from_ref(end))?;
    let axes = s.ints(&[axis as i64]);
    if step == 1 {
        return Ok(s.add("Slice", &[x, &starts, &ends, &axes], vec![]));
    }
    let steps = s.ints(&[step]);
    Ok(s.add("Slice", &[x, &starts, &ends, &axes, &steps], vec![]))
}

/// Zeros with the operand in the slice: turned for a negative step, spread by the step, padded.
pub(super) fn slice_transpose(
    s: &mut OnnxBuilder,
    x: &str,
    ty: &TensorType,
    axis: usize,
    start: &Dim,
    to: &Dim,
    step: i64,
) -> Spelled {
    let (one, zero) = (Dim::known(1), Dim::known(0));
    let (len, gap) = (ty.dim(axis), step.saturating_abs());
    let mut y = x.to_string();
    let mut first = start.clone();
    if step < 0 {
        y = slice_nodes(s, &y, axis, &Dim::known(-1), &Dim::known(i64::MIN + 1), -1)?;
        first = start + &(&(len - &one) * &Dim::known(step));
    }
    let mut span = len.clone();
    if gap > 1 && !len.is(0) {
        y = spread(s, &y, ty, axis, gap)?;
        span = &(&(len - &one) * &Dim::known(gap)) + &one;
    }
    if len.is(0) {
        first = zero.clone();
    }
    let (mut before, mut after) = (vec![zero.clone(); ty.rank()], vec![zero; ty.rank()]);
    after[axis] = &(to - &span) - &first;
    before[axis] = first;
    pad(s, &y, ty.dtype, &before, &after, PadMode::Constant(0.0))
}

/// Puts `gap - 1` zeros between elements of an axis.
fn spread(s: &mut OnnxBuilder, x: &str, ty: &TensorType, axis: usize, gap: i64) -> Spelled {
    let at = s.ints(&[axis as i64 + 1]);
    let wide = s.add("Unsqueeze", &[x, &at], vec![]);
    let (before, mut after) = (vec![Dim::known(0); ty.rank() + 1], vec![Dim::known(0); ty.rank() + 1]);
    after[axis + 1] = Dim::known(gap - 1);
    let wide = pad(s, &wide, ty.dtype, &before, &after, PadMode::Constant(0.0))?;
    let (mut from, mut to) = (ty.shape.0.clone(), ty.shape.0.clone());
    from.insert(axis + 1, Dim::known(gap));
    to[axis] = ty.dim(axis) * &Dim::known(gap);
    let merged = reshape(s, &wide, &from, &to)?;
    // The zeros after the last element are none between elements.
    slice_nodes(s, &merged, axis, &Dim::known(0), &Dim::known(1 - gap), 1)
}

pub(super) fn pad(
    s: &mut OnnxBuilder,
    x: &str,
    dtype: DType,
    before: &[Dim],
    after: &[Dim],
    mode: PadMode,
) -> Spelled {
    let pads = s.vector(&[before, after].concat())?;
    Ok(match mode {
        PadMode::Constant(fill) => {
            let fill = s.scalar(dtype, f64::from(fill));
            s.add("Pad", &[x, &pads, &fill], vec![])
        }
        PadMode::Reflect => s.add("Pad", &[x, &pads], vec![attr_string("mode", "reflect")]),
        PadMode::Edge => s.add("Pad", &[x, &pads], vec![attr_string("mode", "edge")]),
    })
}
