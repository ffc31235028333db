//! The choice of arithmetic unit: layout of operands in shared memory, and one stage's products.

use dlbc_ops::prim::Transform;

use super::shape::{Tile, Unit};
use super::slot::{Position, Slot};
use super::source::Source;
use super::sums::Product;
use super::{fma, mma};
use crate::emit::{Emitter, Reg};
use crate::kernel::storage::Storage;

/// Lays out the operands of a stage. `operands` are the sources, and for each the transform that is left to the unit and the type
/// in shared memory. Returns the slots and the size of the stage in bytes.
pub(super) fn layout(tile: Tile, operands: [(&dyn Source, Transform, Storage); 2]) -> ([Slot; 2], u32) {
    let mut bytes = 0;
    let slots = [0, 1].map(|side| {
        let (source, transform, storage) = operands[side];
        let extent = [tile.rows, tile.columns][side];
        let (pitch, elements) = match tile.unit {
            Unit::Fma(_) => fma::pitch(tile, extent, storage),
            Unit::Mma(_, math) => mma::pitch(source, tile, extent, storage, math),
        };
        let slot = Slot { base: bytes, pitch, transform, storage };
        bytes += if transform == Transform::One { 0 } else { storage.bytes() * elements };
        slot
    });
    (slots, bytes)
}

impl Unit {
    /// Returns the rows and columns of a thread's sums.
    pub(super) fn dims(self) -> [u32; 2] {
        match self {
            Unit::Fma(side) => [side, side],
            Unit::Mma([rows, columns], _) => [rows / 8, columns / 4],
        }
    }

    /// Computes the thread's position in the tile that begins at row and column `start`.
    pub(super) fn begin(self, k: &mut Emitter, tile: Tile, slots: [Slot; 2], start: (Reg, Reg)) -> Position {
        match self {
            Unit::Fma(side) => fma::begin(k, tile, side, slots),
            Unit::Mma(warp, math) => mma::begin(k, tile, warp, math, slots, start),
        }
    }

    /// Adds the products of the stage at this offset from the first one.
    pub(super) fn step(
        self,
        k: &mut Emitter,
        tile: Tile,
        position: &Position,
        slots: [Slot; 2],
        stage: Option<Reg>,
        products: &[Product<'_>],
    ) {
        match self {
            Unit::Fma(side) => fma::step(k, tile, side, position, slots, stage, products),
            Unit::Mma(warp, math) => mma::step(k, tile, (warp, math), position, slots, stage, products),
        }
    }

    /// Computes the global indices of the thread's rows and columns.
    pub(super) fn indices(
        self,
        k: &mut Emitter,
        tile: Tile,
        position: &Position,
        (row, column): (Reg, Reg),
    ) -> [Vec<Reg>; 2] {
        match self {
            Unit::Fma(side) => {
                let rows = fma::indices(k, row, position.rows, tile.rows, side);
                [rows, fma::indices(k, column, position.columns, tile.columns, side)]
            }
            Unit::Mma(warp, _) => mma::indices(k, warp, position),
        }
    }
}
