//! Scalar threads: each computes a square of the result by fused multiply-adds. In shared memory lanes are adjacent.

use dlbc_ops::prim::Transform;

use super::shape::Tile;
use super::slot::{Pitch, Position, Slot};
use super::source::transform;
use super::sums::Product;
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::storage::Storage;
use crate::op;

/// Returns the strides and the number of elements of an operand's tile of `extent` lanes. Lines start at multiples of 16 bytes.
pub(super) fn pitch(tile: Tile, extent: u32, storage: Storage) -> (Pitch, u32) {
    let line = extent + storage.group();
    ([line, 1], tile.depth * line)
}

/// Computes the thread's position. A thread's rows come in groups of four that lie apart, so that a warp reads adjacent words;
/// so do its columns.
pub(super) fn begin(k: &mut Emitter, tile: Tile, side: u32, slots: [Slot; 2]) -> Position {
    let tid = k.mov_u32("%tid.x");
    let tile_columns = tile.columns / side;
    let (columns, rows) = (k.r(), k.r());
    op!(k, "and.b32 {columns}, {tid}, {}", tile_columns - 1);
    op!(k, "shr.u32 {rows}, {tid}, {}", tile_columns.trailing_zeros());
    let (a, b, smem) = (k.r(), k.r(), k.mov_u32("smem"));
    op!(k, "mad.lo.u32 {a}, {rows}, {}, {smem}", 4 * slots[0].storage.bytes());
    op!(k, "mad.lo.u32 {b}, {columns}, {}, {smem}", 4 * slots[1].storage.bytes());
    Position { rows, columns, reads: [a, b] }
}

/// Adds the products of the stage at this offset from the first one.
pub(super) fn step(
    k: &mut Emitter,
    tile: Tile,
    side: u32,
    position: &Position,
    slots: [Slot; 2],
    stage: Option<Reg>,
    products: &[Product<'_>],
) {
    let reads = match stage {
        None => position.reads,
        stage => [0, 1].map(|side| position.read(k, slots, side, stage)),
    };
    for d in 0..tile.depth {
        let left = fragment(k, reads[0], slots[0], d, (tile.rows, side));
        let right = fragment(k, reads[1], slots[1], d, (tile.columns, side));
        for Product { transforms, sums } in products {
            let left: Vec<Reg> = left.iter().map(|v| transform(k, transforms[0], *v)).collect();
            let right: Vec<Reg> = right.iter().map(|v| transform(k, transforms[1], *v)).collect();
            for (a, row) in left.iter().zip(sums.iter()) {
                for (b, sum) in right.iter().zip(row) {
                    op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
                }
            }
        }
    }
}

/// Loads a thread's elements of one operand at one depth.
fn fragment(k: &mut Emitter, read: Reg, slot: Slot, depth: u32, (extent, side): (u32, u32)) -> Vec<Reg> {
    if slot.transform == Transform::One {
        let unit = k.f();
        op!(k, "mov.f32 {unit}, {}", imm(1.0));
        return vec![unit; side as usize];
    }
    let groups = side / 4;
    let address = |group: u32| format!("{read}+{}", slot.offset(group * extent / groups, depth));
    (0..groups).flat_map(|group| slot.storage.load_four(k, "shared", address(group), None)).collect()
}

/// Computes the global indices of a thread's rows or columns.
pub(super) fn indices(k: &mut Emitter, start: Reg, thread: Reg, extent: u32, side: u32) -> Vec<Reg> {
    let first = k.r();
    op!(k, "mad.lo.u32 {first}, {thread}, 4, {start}");
    let mut indices = vec![first];
    for i in 1..side {
        let r = k.r();
        op!(k, "add.u32 {r}, {first}, {}", i / 4 * (extent / (side / 4)) + i % 4);
        indices.push(r);
    }
    indices
}
