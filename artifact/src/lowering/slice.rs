//! Slices and their adjoints.

use dlbc_ops::prim::{PadMode, Slice, SliceTranspose};
use dlbc_ops::tensor::Dim;

use super::contract::*;
use super::pad::pad;
use super::reshape::reshape;

/// Elements `start, start + step, …` along an axis.
impl OnnxLowering for Slice {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let Slice { axis, start, len, step } = self;
        let (x, axis, step) = (operands.names[0], *axis, *step);
        let dim = operands.types[0].dim(axis);
        let end = start + &(len * &Dim::known(step));
        let end = match end.as_known() {
            _ if step > 0 && end == *dim => Dim::known(i64::MAX),
            Some(e) if e < 0 => Dim::known(i64::MIN + 1),
            Some(_) => end,
            None if step > 0 => end,
            // The end of a backward slice is below 0 or not depending on the run, and below 0 would count from the end of the
            // axis. So the span is sliced forwards first, and then reversed.
            None => {
                let unit = Dim::known(1);
                let first = start + &(&(len - &unit) * &Dim::known(step));
                let span = slice_nodes(builder, x, axis, &first, &(start + &unit), 1)?;
                return slice_nodes(builder, &span, axis, &Dim::known(-1), &Dim::known(i64::MIN + 1), step);
            }
        };
        slice_nodes(builder, x, axis, start, &end, step)
    }
}

/// Adds a `Slice` along unit axis.
fn slice_nodes(
    builder: &mut OnnxBuilder,
    x: &str,
    axis: usize,
    start: &Dim,
    end: &Dim,
    step: i64,
) -> Lowered {
    let starts = builder.vector(std::slice::from_ref(start))?;
    let ends = builder.vector(std::slice::from_ref(end))?;
    let axes = builder.ints(&[axis as i64]);
    if step == 1 {
        return Ok(builder.add("Slice", &[x, &starts, &ends, &axes], vec![]));
    }
    let steps = builder.ints(&[step]);
    Ok(builder.add("Slice", &[x, &starts, &ends, &axes, &steps], vec![]))
}

/// Zeros with the operand in the positions of the slice: reversed for a negative step, spaced by the step, padded.
impl OnnxLowering for SliceTranspose {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let SliceTranspose { axis, start, to, step } = self;
        let (x, ty, axis, step) = (operands.names[0], &operands.types[0], *axis, *step);
        let (unit, zero) = (Dim::known(1), Dim::known(0));
        let (len, gap) = (ty.dim(axis), step.saturating_abs());
        let mut y = x.to_string();
        let mut first = start.clone();
        if step < 0 {
            y = slice_nodes(builder, &y, axis, &Dim::known(-1), &Dim::known(i64::MIN + 1), -1)?;
            first = start + &(&(len - &unit) * &Dim::known(step));
        }
        let mut span = len.clone();
        if gap > 1 && !len.is(0) {
            y = insert_zeros(builder, &y, ty, axis, gap)?;
            span = &(&(len - &unit) * &Dim::known(gap)) + &unit;
        }
        if len.is(0) {
            first = zero.clone();
        }
        let (mut before, mut after) = (vec![zero.clone(); ty.rank()], vec![zero; ty.rank()]);
        after[axis] = &(to - &span) - &first;
        before[axis] = first;
        pad(builder, &y, ty.dtype, &before, &after, PadMode::Constant(0.0))
    }
}

/// Inserts `gap - 1` zeros between the elements of an axis.
fn insert_zeros(builder: &mut OnnxBuilder, x: &str, ty: &TensorType, axis: usize, gap: i64) -> Lowered {
    let new_axis = builder.ints(&[axis as i64 + 1]);
    let column = builder.add("Unsqueeze", &[x, &new_axis], vec![]);
    let (before, mut after) = (vec![Dim::known(0); ty.rank() + 1], vec![Dim::known(0); ty.rank() + 1]);
    after[axis + 1] = Dim::known(gap - 1);
    let padded = pad(builder, &column, ty.dtype, &before, &after, PadMode::Constant(0.0))?;
    let (mut from, mut to) = (ty.shape.0.clone(), ty.shape.0.clone());
    from.insert(axis + 1, Dim::known(gap));
    to[axis] = ty.dim(axis) * &Dim::known(gap);
    let merged = reshape(builder, &padded, &from, &to)?;
    // The zeros after the last element do not lie between elements.
    slice_nodes(builder, &merged, axis, &Dim::known(0), &Dim::known(1 - gap), 1)
}
