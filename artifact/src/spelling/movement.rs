//! Data movement, gather and its adjoint, ranges and dimensions.

use dlbc_ops::prim::{PadMode, Prim};
use dlbc_ops::tensor::{Dim, Shape, TensorType};
use dlbc_proto::write::{attr_int, attr_string};

use super::{Body, ints};

pub(super) fn spell(b: &mut Body, prim: &Prim, inputs: &[TensorType], result: &TensorType) -> Result<(), String> {
    match prim {
        Prim::Reshape { to } => {
            let to = b.vector(&to.0);
            b.finish("Reshape", &["x0", &to], vec![attr_int("allowzero", 1)]);
        }
        Prim::Transpose { perm } => b.finish("Transpose", &["x0"], vec![ints("perm", perm)]),
        Prim::Expand { to } => {
            let to = b.vector(&to.0);
            b.finish("Expand", &["x0", &to], vec![]);
        }
        Prim::Concat { axis } => {
            let names = b.inputs.clone();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            b.finish("Concat", &names, vec![attr_int("axis", *axis as i64)]);
        }
        Prim::Slice { axis, start, len, step } => {
            let y = slice(b, "x0", *axis, start, len, *step);
            b.finish("Identity", &[&y], vec![]);
        }
        Prim::SliceTranspose { axis, start, to, step } => {
            slice_transpose(b, &inputs[0], *axis, start, to, *step);
        }
        Prim::Pad { before, after, mode } => {
            let pads = b.vector(&[before.as_slice(), after].concat());
            match mode {
                PadMode::Constant(v) => {
                    let value = b.float(*v);
                    b.finish("Pad", &["x0", &pads, &value], vec![]);
                }
                PadMode::Reflect => b.finish("Pad", &["x0", &pads], vec![attr_string("mode", "reflect")]),
                PadMode::Edge => b.finish("Pad", &["x0", &pads], vec![attr_string("mode", "edge")]),
            }
        }
        Prim::Gather { axis } => b.finish("Gather", &["x0", "x1"], vec![attr_int("axis", *axis as i64)]),
        Prim::ScatterAdd { axis, to } => scatter_add(b, &inputs[0], &inputs[1], *axis, to, result),
        Prim::Iota { len } => {
            let (zero, one) = (b.ints(&[0]), b.ints(&[1]));
            let len = b.vector(std::slice::from_ref(len));
            let mut scalar = |v: &str| b.node("Squeeze", &[v], vec![]);
            let (zero, len, one) = (scalar(&zero), scalar(&len), scalar(&one));
            b.finish("Range", &[&zero, &len, &one], vec![]);
        }
        Prim::Dims { dims, values } => {
            let vector = b.vector(values);
            let to = b.ints(&dims.iter().map(|d| *d as i64).collect::<Vec<_>>());
            b.finish("Reshape", &[&vector, &to], vec![]);
        }
        other => return Err(format!("{other:?}")),
    }
    Ok(())
}

fn slice(b: &mut Body, x: &str, axis: usize, start: &Dim, len: &Dim, step: i64) -> String {
    let end = start + &(len * &Dim::known(step));
    // Running backwards to the first element ends before it, which only the smallest number says.
    let end = if step < 0 && end.as_known().is_none_or(|e| e < 0) { Dim::known(i64::MIN + 1) } else { end };
    let starts = b.vector(std::slice::from_ref(start));
    let ends = b.vector(&[end]);
    let (axes, steps) = (b.ints(&[axis as i64]), b.ints(&[step]));
    b.node("Slice", &[x, &starts, &ends, &axes, &steps], vec![])
}

/// Zeros with the operand in the slice: spread by the step, turned around for a negative one, padded.
fn slice_transpose(b: &mut Body, x: &TensorType, axis: usize, start: &Dim, to: &Dim, step: i64) {
    let rank = x.rank();
    let gap = step.abs();
    let len = x.dim(axis);
    let mut y = "x0".to_string();
    if gap > 1 {
        let one = b.ints(&[axis as i64 + 1]);
        let wide = b.node("Unsqueeze", &[&y, &one], vec![]);
        let mut margins = vec![0i64; 2 * (rank + 1)];
        margins[rank + 1 + axis + 1] = gap - 1;
        let margins = b.ints(&margins);
        let wide = b.node("Pad", &[&wide, &margins], vec![]);
        let mut merged = x.shape.0.clone();
        merged[axis] = len * &Dim::known(gap);
        let merged = b.vector(&merged);
        y = b.node("Reshape", &[&wide, &merged], vec![]);
    }
    // Elements from the first to the last, zeros between.
    let span = &(&(len - &Dim::known(1)) * &Dim::known(gap)) + &Dim::known(1);
    if gap > 1 {
        y = slice(b, &y, axis, &Dim::known(0), &span, 1);
    }
    let first = if step < 0 {
        y = slice(b, &y, axis, &(&span - &Dim::known(1)), &span, -1);
        &(start - &span) + &Dim::known(1)
    } else {
        start.clone()
    };
    let mut margins = vec![Dim::known(0); 2 * rank];
    margins[rank + axis] = &(to - &span) - &first;
    margins[axis] = first;
    let margins = b.vector(&margins);
    b.finish("Pad", &[&y, &margins], vec![]);
}

/// `(updates, indices)` → zeros plus each update at its index: the indexed axis is moved to the front, where `ScatterND`
/// adds rows.
fn scatter_add(b: &mut Body, updates: &TensorType, indices: &TensorType, axis: usize, to: &Dim, result: &TensorType) {
    let d = &updates.shape.0;
    let (before, after) = (&d[..axis], &d[axis + indices.rank()..]);
    let count = indices.shape.elems();
    let merged: Shape = [before, std::slice::from_ref(&count), after].concat().into();
    let merged_vector = b.vector(&merged.0);
    let rows = b.node("Reshape", &["x0", &merged_vector], vec![]);
    let rank = merged.rank();
    let mut front: Vec<usize> = (0..rank).filter(|i| *i != axis).collect();
    front.insert(0, axis);
    let rows = b.node("Transpose", &[&rows], vec![ints("perm", &front)]);
    let zero = b.float(0.0);
    let shape = b.vector(&[std::slice::from_ref(to), before, after].concat());
    let zeros = b.node("Expand", &[&zero, &shape], vec![]);
    let at = b.node("Cast", &["x1"], vec![attr_int("to", 7)]);
    let column = b.vector(&[count, Dim::known(1)]);
    let at = b.node("Reshape", &[&at, &column], vec![]);
    let sum = b.node("ScatterND", &[&zeros, &at, &rows], vec![attr_string("reduction", "add")]);
    let mut back = vec![0; rank];
    for (i, p) in front.iter().enumerate() {
        back[*p] = i;
    }
    debug_assert_eq!(result.rank(), rank);
    b.finish("Transpose", &[&sum], vec![ints("perm", &back)]);
}
