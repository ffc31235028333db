//! Sums of a thread: of one product, or of two products of the same operands.

use dlbc_ops::prim::Transform;

use super::source::transform_name;
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::storage::Storage;
use crate::op;

/// Use of the sums of a second product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecondSums {
    /// They are added to those of the first product.
    Added,
    /// The epilogue gets them as a second operand.
    Operand,
    /// They are a result of their own, of this type in memory, which no epilogue changes.
    Stored(Storage),
}

/// A second product of the same operands under other transforms, computed while they are in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecondProduct {
    /// Transforms of the operands, left and right.
    pub transforms: [Transform; 2],
    /// Use of the sums.
    pub sums: SecondSums,
}

impl SecondProduct {
    /// Returns the product's part of a kernel's name.
    pub(in crate::kernel) fn name(self) -> String {
        let [a, b] = self.transforms.map(transform_name);
        let sums = match self.sums {
            SecondSums::Added => "_and",
            SecondSums::Operand => "_beside",
            SecondSums::Stored(storage) => &format!("_storing{}", storage.name()),
        };
        format!("{sums}_{a}_{b}")
    }
}

/// Registers of sums by row, then by column.
pub(super) type Grid = Vec<Vec<Reg>>;

/// A product that a unit adds to sums.
pub(super) struct Product<'a> {
    /// Transforms of the operands, left and right.
    pub(super) transforms: [Transform; 2],
    pub(super) sums: &'a Grid,
}

/// Sums of a thread while they grow.
pub(super) struct Accumulators {
    first: Grid,
    second: Option<SecondProduct>,
    /// Sums of a separate second product.
    separate: Option<Grid>,
}

impl Accumulators {
    /// Declares and zeroes the sums of a thread with this many rows and columns.
    pub(super) fn zeros(k: &mut Emitter, dims: [u32; 2], second: Option<SecondProduct>) -> Accumulators {
        let first = zeros(k, dims);
        let separate = second.filter(|s| s.sums != SecondSums::Added).map(|_| zeros(k, dims));
        Accumulators { first, second, separate }
    }

    /// Returns the products to add; the first one has these transforms.
    pub(super) fn products(&self, transforms: [Transform; 2]) -> Vec<Product<'_>> {
        let mut products = vec![Product { transforms, sums: &self.first }];
        let sums = self.separate.as_ref().unwrap_or(&self.first);
        products.extend(self.second.map(|s| Product { transforms: s.transforms, sums }));
        products
    }

    /// Returns the finished sums, given the global indices of their rows and columns.
    pub(super) fn finish(self, [rows, columns]: [Vec<Reg>; 2]) -> Sums {
        Sums { rows, columns, values: self.first, second: self.separate }
    }
}

fn zeros(k: &mut Emitter, [rows, columns]: [u32; 2]) -> Grid {
    let values: Grid = (0..rows).map(|_| (0..columns).map(|_| k.f()).collect()).collect();
    for v in values.iter().flatten() {
        op!(k, "mov.f32 {v}, {}", imm(0.0));
    }
    values
}

/// Result of a product in a thread: sums, and the global indices of their rows and columns.
pub(in crate::kernel) struct Sums {
    /// Global row indices.
    pub(in crate::kernel) rows: Vec<Reg>,
    /// Global column indices.
    pub(in crate::kernel) columns: Vec<Reg>,
    /// Sums by row, then by column.
    values: Grid,
    /// Sums of a separate second product.
    second: Option<Grid>,
}

impl Sums {
    /// Returns the sums of an element: one, or two with a separate second product.
    pub(in crate::kernel) fn at(&self, row: usize, column: usize) -> Vec<Reg> {
        std::iter::once(&self.values).chain(&self.second).map(|values| values[row][column]).collect()
    }
}
