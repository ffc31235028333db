//! The product of two matrices that [`Source`]s supply: block tiles in shared memory, thread tiles in registers.
//!
//! A kernel is put together from four choices, each in files of its own: the type of stored operands
//! ([`Storage`](super::storage::Storage)), their way to shared memory (`registers`, `ring`), the unit that multiplies
//! (`fma`, `mma`), and the sums that it adds to (`sums`).
//!
//! Sums run over the depth in order, whatever the tile, so all tile sizes of scalar threads give the same bits.

use crate::emit::{Emitter, Reg};

mod fma;
mod mma;
mod registers;
mod ring;
mod shape;
mod share;
mod slot;
mod source;
mod sums;
mod unit;

pub(super) use mma::halves;
pub use shape::{Math, Tile, Transfer, Unit};
pub(super) use source::{Depths, Source, both_exist, dot, load, load_where, transform, transform_name};
pub(super) use sums::Sums;
pub use sums::{SecondProduct, SecondSums};

/// Emits the whole product of the block that begins at row and column `start`.
pub(super) fn multiply(
    k: &mut Emitter,
    (tile, second): (Tile, Option<SecondProduct>),
    sources: (&dyn Source, &dyn Source),
    start: (Reg, Reg),
    depths: Depths,
) -> Sums {
    if let Unit::Mma(..) = tile.unit {
        // 128 registers per thread hold the sums and fragments of the large tile; a second product needs more, and so do its sums.
        let threads = match second {
            None => 512,
            Some(second) if second.sums == SecondSums::Added => 384,
            Some(_) => 256,
        };
        k.set_resident_blocks(threads / tile.threads());
    }
    match tile.transfer {
        Transfer::Registers => registers::multiply(k, (tile, second), sources, start, depths),
        Transfer::CpAsync => ring::multiply(k, (tile, second), sources, start, depths),
    }
}
