//! Matrix views of row-major values, and their products.

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul};

use super::layout::Number;
use crate::OpError;

/// Returns row-major values as a matrix.
pub(in crate::prim) fn view<T>(
    values: &[T],
    rows: usize,
    columns: usize,
) -> Result<ArrayView2<'_, T>, OpError> {
    let error = || OpError::mismatch("elements of a matrix", format!("{rows}×{columns}"), values.len());
    ArrayView2::from_shape((rows, columns), values).map_err(|_| error())
}

/// Returns row-major values as a matrix for writing.
pub(in crate::prim) fn view_mut<T>(
    values: &mut [T],
    rows: usize,
    columns: usize,
) -> Result<ArrayViewMut2<'_, T>, OpError> {
    let count = values.len();
    let error = || OpError::mismatch("elements of a matrix", format!("{rows}×{columns}"), count);
    ArrayViewMut2::from_shape((rows, columns), values).map_err(|_| error())
}

/// Computes `out = a · b`.
pub(in crate::prim) fn multiply_float(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    mut out: ArrayViewMut2<'_, f64>,
) {
    general_mat_mul(1.0, &a, &b, 0.0, &mut out);
}

/// Computes `out = a · b`; overflow wraps.
pub(in crate::prim) fn multiply_integer(
    a: ArrayView2<'_, i64>,
    b: ArrayView2<'_, i64>,
    mut out: ArrayViewMut2<'_, i64>,
) {
    for ((i, j), z) in out.indexed_iter_mut() {
        *z = a.row(i).iter().zip(b.column(j)).fold(0, |z, (a, b)| z.plus(a.times(*b)));
    }
}
