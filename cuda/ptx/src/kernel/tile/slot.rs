//! Places of operands in shared memory.

use dlbc_ops::prim::Transform;

use crate::emit::{Emitter, Reg};
use crate::kernel::storage::Storage;
use crate::op;

/// Strides of a tile in shared memory along depth and lanes, in elements.
pub(super) type Pitch = [u32; 2];

/// An operand's tile in shared memory. An operand that is still to be transformed to `One` takes no memory.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Offset of the tile in its stage, in bytes.
    pub(super) base: u32,
    pub(super) pitch: Pitch,
    /// Transform that the unit applies.
    pub(super) transform: Transform,
    pub(super) storage: Storage,
}

impl Slot {
    /// Returns the offset of an element in its stage, in bytes.
    pub(super) fn offset(&self, lane: u32, depth: u32) -> u32 {
        self.base + self.storage.bytes() * (depth * self.pitch[0] + lane * self.pitch[1])
    }

    /// Returns the stride along depth or lanes, in bytes.
    pub(super) fn stride(&self, axis: usize) -> u32 {
        self.storage.bytes() * self.pitch[axis]
    }
}

/// Position of a thread in the tile, and the shared addresses that it reads.
pub(super) struct Position {
    /// First row: of scalar threads in units of rows of a group, in the tile; of warps among all rows.
    pub(super) rows: Reg,
    /// First column, likewise.
    pub(super) columns: Reg,
    /// Byte addresses of its first elements of both operands at depth 0, relative to their slots.
    pub(super) reads: [Reg; 2],
}

impl Position {
    /// Computes the address of the thread's first element of operand `side` in the stage at this offset from the first one.
    pub(super) fn read(&self, k: &mut Emitter, slots: [Slot; 2], side: usize, stage: Option<Reg>) -> Reg {
        let read = k.r();
        match stage {
            // Nothing is read of an operand that takes no memory.
            _ if slots[side].transform == Transform::One => {}
            Some(stage) => op!(k, "add.u32 {read}, {}, {stage}", self.reads[side]),
            None => op!(k, "mov.u32 {read}, {}", self.reads[side]),
        }
        read
    }
}
