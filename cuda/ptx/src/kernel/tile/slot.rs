//! Places of operands in shared memory.

use dlbc_ops::prim::Transform;

use crate::emit::Reg;
use crate::kernel::storage::Storage;

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
    /// First row.
    pub(super) rows: Reg,
    /// First column.
    pub(super) columns: Reg,
    /// Byte addresses of its first elements of both operands at depth 0, relative to their slots.
    pub(super) reads: [Reg; 2],
}
