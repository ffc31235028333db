//! Matrix products of float32: the safe face of the `gemm` crate.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

use super::parallel::Tile;

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

/// `c = a · b` for `a [m, k]`, `b [k, n]` and a tile `c [m, n]`. One thread; the order of the sums depends on the sizes
/// alone, so equal calls give equal bits.
///
/// # Panics
/// When an operand is larger than its slice.
pub fn gemm(k: usize, c: &mut Tile<'_>, a: Matrix<'_>, b: Matrix<'_>) {
    if k == 0 {
        (0..c.rows).for_each(|i| c.line(i).fill(0.0));
    }
    product(k, c, a, b, false);
}

/// `c += a · b`, else as [`gemm`].
///
/// # Panics
/// When an operand is larger than its slice.
pub fn gemm_add(k: usize, c: &mut Tile<'_>, a: Matrix<'_>, b: Matrix<'_>) {
    product(k, c, a, b, true);
}

#[allow(unsafe_code)]
fn product(k: usize, c: &mut Tile<'_>, a: Matrix<'_>, b: Matrix<'_>, add: bool) {
    let (m, n) = (c.rows, c.columns);
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n), "an operand is too small");
    let (data, row) = c.raw();
    // The kernel wants columns of `c` close together: cᵀ = bᵀ · aᵀ.
    // SAFETY: the operands' pointers come from slices that hold every element that the strides reach (asserted above); the
    // tile is a mutable borrow of `m` rows of `n` elements that do not overlap.
    unsafe {
        get_gemm_fn()(
            n,
            m,
            k,
            data,
            row as isize,
            1,
            add,
            b.data.as_ptr(),
            b.row as isize,
            b.column as isize,
            a.data.as_ptr(),
            a.row as isize,
            a.column as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
