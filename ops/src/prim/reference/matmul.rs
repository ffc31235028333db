//! `part(a) · part(b)` over the last two axes.

use std::borrow::Cow;

use ndarray::{ArrayD, ArrayView2, ArrayViewMut2, linalg::general_mat_mul};

use super::layout::{Number, array, broadcast, elems, pick, values, wrong_kind};
use crate::OpError;
use crate::prim::Part;
use crate::tensor::Array;

/// A matrix operand: its part, and whether its last two axes swap.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) part: Part,
    pub(super) swap: bool,
}

/// The product, of dimensions `dims`.
pub(super) fn matmul(a: (&Array, Side), b: (&Array, Side), dims: &[usize]) -> Result<Array, OpError> {
    let sides = (a.1, b.1);
    match (a.0, b.0) {
        (Array::F(a), Array::F(b)) => batched(a, b, sides, dims, part_float, multiply_float).map(Array::F),
        (Array::I(a), Array::I(b)) => {
            batched(a, b, sides, dims, part_integer, multiply_integer).map(Array::I)
        }
        (other, _) => Err(wrong_kind("a number type, the same twice", other)),
    }
}

/// The part of a float.
pub(super) fn part_float(part: Part, v: f64) -> f64 {
    match part {
        Part::Id => v,
        Part::Abs => v.abs(),
        Part::Pos => {
            if v < 0.0 {
                0.0
            } else {
                v
            }
        }
        Part::Neg => {
            if v > 0.0 {
                0.0
            } else {
                v
            }
        }
        Part::Square => v * v,
        Part::One => 1.0,
    }
}

fn part_integer(part: Part, v: i64) -> i64 {
    match part {
        Part::Id => v,
        Part::Abs => v.wrapping_abs(),
        Part::Pos => v.max(0),
        Part::Neg => v.min(0),
        Part::Square => v.wrapping_mul(v),
        Part::One => 1,
    }
}

/// The part of each value.
pub(super) fn parts<T: Copy>(x: &ArrayD<T>, part: Part, f: fn(Part, T) -> T) -> Cow<'_, [T]> {
    match part {
        Part::Id => values(x),
        _ => Cow::Owned(values(x).iter().map(|v| f(part, *v)).collect()),
    }
}

fn batched<T: Number>(
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    (left, right): (Side, Side),
    dims: &[usize],
    part: fn(Part, T) -> T,
    multiply: fn(ArrayView2<'_, T>, ArrayView2<'_, T>, ArrayViewMut2<'_, T>),
) -> Result<ArrayD<T>, OpError> {
    let mut out = vec![T::ZERO; elems(dims)?];
    let (batch, matrix) = dims.split_at(dims.len() - 2);
    let (a_batch, a_matrix) = a.shape().split_at(a.ndim() - 2);
    let (b_batch, b_matrix) = b.shape().split_at(b.ndim() - 2);
    let size = matrix[0] * matrix[1];
    if out.is_empty() || a.is_empty() || b.is_empty() {
        return array(dims, out);
    }
    let (a_values, b_values) = (parts(a, left.part, part), parts(b, right.part, part));
    let a_matrices: Vec<&[T]> = a_values.chunks_exact(a_matrix[0] * a_matrix[1]).collect();
    let b_matrices: Vec<&[T]> = b_values.chunks_exact(b_matrix[0] * b_matrix[1]).collect();
    let a_matrices = pick(&a_matrices, &broadcast(a_batch, batch), &[].as_slice());
    let b_matrices = pick(&b_matrices, &broadcast(b_batch, batch), &[].as_slice());
    for ((a, b), out) in a_matrices.into_iter().zip(b_matrices).zip(out.chunks_exact_mut(size)) {
        let (a, b) = (view(a, a_matrix[0], a_matrix[1])?, view(b, b_matrix[0], b_matrix[1])?);
        let (a, b) =
            (if left.swap { a.reversed_axes() } else { a }, if right.swap { b.reversed_axes() } else { b });
        multiply(a, b, view_mut(out, matrix[0], matrix[1])?);
    }
    array(dims, out)
}

/// A row-major matrix.
pub(super) fn view<T>(values: &[T], rows: usize, columns: usize) -> Result<ArrayView2<'_, T>, OpError> {
    let error = || OpError::mismatch("elements of a matrix", format!("{rows}×{columns}"), values.len());
    ArrayView2::from_shape((rows, columns), values).map_err(|_| error())
}

/// A row-major matrix to write.
pub(super) fn view_mut<T>(
    values: &mut [T],
    rows: usize,
    columns: usize,
) -> Result<ArrayViewMut2<'_, T>, OpError> {
    let count = values.len();
    let error = || OpError::mismatch("elements of a matrix", format!("{rows}×{columns}"), count);
    ArrayViewMut2::from_shape((rows, columns), values).map_err(|_| error())
}

/// `out = a · b` for matrices that fit.
pub(super) fn multiply_float(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    mut out: ArrayViewMut2<'_, f64>,
) {
    general_mat_mul(1.0, &a, &b, 0.0, &mut out);
}

fn multiply_integer(a: ArrayView2<'_, i64>, b: ArrayView2<'_, i64>, mut out: ArrayViewMut2<'_, i64>) {
    for ((i, j), z) in out.indexed_iter_mut() {
        *z = a.row(i).iter().zip(b.column(j)).fold(0, |z, (a, b)| z.plus(a.times(*b)));
    }
}
