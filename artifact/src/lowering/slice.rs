//! Slices and their adjoint.

use dlbc_ops::prim::{PadMode, Slice, SliceTranspose};
use dlbc_ops::tensor::Dim;

use super::contract::*;
use super::pad::pad;
use super::reshape::reshape;

/// `start, start + step, …` along an axis.
impl OnnxLowering for Slice {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let Slice { axis, start, len, step } = self;
        let (x, axis, step) = (at.x[0], *axis, *step);
        let dim = at.types[0].dim(axis);
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
}

fn slice_nodes(s: &mut OnnxBuilder, x: &str, axis: usize, start: &Dim, end: &Dim, step: i64) -> Lowered {
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
impl OnnxLowering for SliceTranspose {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let SliceTranspose { axis, start, to, step } = self;
        let (x, ty, axis, step) = (at.x[0], &at.types[0], *axis, *step);
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
}

/// Puts `gap - 1` zeros between elements of an axis.
fn spread(s: &mut OnnxBuilder, x: &str, ty: &TensorType, axis: usize, gap: i64) -> Lowered {
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
