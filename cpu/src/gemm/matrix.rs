//! Matrices as products read them.

use dlbc_ops::prim::Transform as Take;

/// A matrix within a slice: element `(i, j)` lies at `i·row + j·column`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
    /// What is read of each element.
    pub part: Take,
}

impl<'a> Matrix<'a> {
    /// Rows of `row` elements, as they are.
    pub fn rows(data: &'a [f32], row: usize) -> Matrix<'a> {
        Matrix { data, row, column: 1, part: Take::Id }
    }

    /// The matrix transposed.
    pub fn turned(self) -> Matrix<'a> {
        Matrix { row: self.column, column: self.row, ..self }
    }
}
