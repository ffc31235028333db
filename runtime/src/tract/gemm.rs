//! Matrix products of float32: the safe face of the `gemm` crate.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// A matrix within a slice: element `(i, j)` lies at `i·row + j·column`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
}

impl Matrix<'_> {
    fn holds(&self, rows: usize, columns: usize) -> bool {
        self.data.len() > (rows - 1) * self.row + (columns - 1) * self.column
    }
}

/// `c = a · b` for `a [m, k]`, `b [k, n]`; rows of `c [m, n]` lie `row` apart. One thread; the order of the sums depends on
/// the sizes alone, so equal calls give equal bits.
///
/// # Panics
/// When a matrix is larger than its slice, or rows of `c` overlap.
#[allow(unsafe_code)]
pub fn gemm([m, k, n]: [usize; 3], c: &mut [f32], row: usize, a: Matrix<'_>, b: Matrix<'_>) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(row >= n && c.len() >= (m - 1) * row + n, "c is too small");
    if k == 0 {
        for r in c.chunks_mut(row).take(m) {
            r[..n].fill(0.0);
        }
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n), "an operand is too small");
    // The kernel wants columns of `c` close together: cᵀ = bᵀ · aᵀ.
    // SAFETY: the pointers come from slices that hold every element that the strides reach (asserted above), `c` is
    // borrowed mutably, its elements are distinct because its rows do not overlap, and `read_dst` is false.
    unsafe {
        get_gemm_fn()(
            n,
            m,
            k,
            c.as_mut_ptr(),
            row as isize,
            1,
            false,
            b.data.as_ptr(),
            b.row as isize,
            b.column as isize,
            a.data.as_ptr(),
            a.row as isize,
            a.column as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
