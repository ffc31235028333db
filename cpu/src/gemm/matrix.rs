//! Strided matrices with an operand transform.

use dlbc_ops::prim::Transform;
use dlbc_ops::tensor::Compact;

/// A matrix in a slice. Element `(i, j)` has the index `i·row + j·column`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Stride between rows.
    pub row: usize,
    /// Stride between columns.
    pub column: usize,
    /// Transform that is applied to each element.
    pub transform: Transform,
}

impl<'a> Matrix<'a> {
    /// Creates a row-major matrix with rows of `row` elements.
    pub fn rows(data: &'a [f32], row: usize) -> Matrix<'a> {
        Matrix { data, row, column: 1, transform: Transform::Id }
    }

    /// Returns the transposed matrix.
    pub fn transposed(self) -> Matrix<'a> {
        Matrix { row: self.column, column: self.row, ..self }
    }
}

/// A row-major matrix whose values are stored in fewer bits.
#[derive(Clone, Copy)]
pub struct CompactMatrix<'a> {
    /// The elements.
    pub data: &'a Compact,
    /// Index of the element in row 0 and column 0.
    pub first: usize,
    /// Number of elements from one line in memory to the next.
    pub line: usize,
    /// True if lines in memory are columns, not rows.
    pub transposed: bool,
    /// Transform that is applied to each element.
    pub transform: Transform,
}
