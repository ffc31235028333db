//! Scalar threads: each computes a square of the result by fused multiply-adds.

use super::{Position, Tile};
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Returns the stride of the tile along the depth in shared memory, in words.
pub(super) fn pitch(extent: u32) -> u32 {
    extent + 4
}

/// Computes the thread's position and zeroes its sums. A thread's rows come in groups of four that lie apart, so that a warp
/// reads adjacent 16-byte words; so do its columns.
pub(super) fn begin(k: &mut Emitter, tile: Tile, side: u32) -> (Position, Vec<Vec<Reg>>) {
    let tid = k.mov_u32("%tid.x");
    let tile_columns = tile.columns / side;
    let (columns, rows) = (k.r(), k.r());
    op!(k, "and.b32 {columns}, {tid}, {}", tile_columns - 1);
    op!(k, "shr.u32 {rows}, {tid}, {}", tile_columns.trailing_zeros());
    let (a, b, smem) = (k.r(), k.r(), k.mov_u32("smem"));
    op!(k, "mad.lo.u32 {a}, {rows}, 16, {smem}");
    op!(k, "mad.lo.u32 {b}, {columns}, 16, {smem}");
    let values: Vec<Vec<Reg>> = (0..side).map(|_| (0..side).map(|_| k.f()).collect()).collect();
    for v in values.iter().flatten() {
        op!(k, "mov.f32 {v}, {}", imm(0.0));
    }
    (Position { rows, columns, reads: [a, b] }, values)
}

/// Adds the products of one stage.
pub(super) fn step(
    k: &mut Emitter,
    tile: Tile,
    side: u32,
    position: &Position,
    [a, b]: [u32; 2],
    values: &[Vec<Reg>],
) {
    for d in 0..tile.depth {
        let left = fragment(k, position.reads[0], a + d * pitch(tile.rows) * 4, tile.rows, side);
        let right = fragment(k, position.reads[1], b + d * pitch(tile.columns) * 4, tile.columns, side);
        for (a, row) in left.iter().zip(values) {
            for (b, sum) in right.iter().zip(row) {
                op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
            }
        }
    }
}

/// Loads a thread's elements of one operand at one depth.
fn fragment(k: &mut Emitter, read: Reg, offset: u32, extent: u32, side: u32) -> Vec<Reg> {
    let mut elements = vec![];
    for group in 0..side / 4 {
        let [a, b, c, d] = [k.f(), k.f(), k.f(), k.f()];
        let group_offset = offset + group * extent / (side / 4) * 4;
        op!(k, "ld.shared.v4.f32 {{{a}, {b}, {c}, {d}}}, [{read}+{group_offset}]");
        elements.extend([a, b, c, d]);
    }
    elements
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
