//! Threads that multiply squares of rows and columns, one fused multiply-add at a time.

use super::{Place, Tile};
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Words from a depth to the next in shared memory.
pub(super) fn pitch(extent: u32) -> u32 {
    extent + 4
}

/// Where this thread's elements begin. Groups of four lie apart, so that a warp reads 16-byte words side by side.
pub(super) fn begin(k: &mut Emitter, tile: Tile, each: u32) -> (Place, Vec<Vec<Reg>>) {
    let tid = k.mov_u32("%tid.x");
    let across = tile.columns / each;
    let (columns, rows) = (k.r(), k.r());
    op!(k, "and.b32 {columns}, {tid}, {}", across - 1);
    op!(k, "shr.u32 {rows}, {tid}, {}", across.trailing_zeros());
    let (a, b, smem) = (k.r(), k.r(), k.mov_u32("smem"));
    op!(k, "mad.lo.u32 {a}, {rows}, 16, {smem}");
    op!(k, "mad.lo.u32 {b}, {columns}, 16, {smem}");
    let values: Vec<Vec<Reg>> = (0..each).map(|_| (0..each).map(|_| k.f()).collect()).collect();
    for v in values.iter().flatten() {
        op!(k, "mov.f32 {v}, {}", imm(0.0));
    }
    (Place { rows, columns, reads: [a, b] }, values)
}

/// The products of one step.
pub(super) fn step(
    k: &mut Emitter,
    tile: Tile,
    each: u32,
    place: &Place,
    [a, b]: [u32; 2],
    values: &[Vec<Reg>],
) {
    for d in 0..tile.depth {
        let left = fragment(k, place.reads[0], a + d * pitch(tile.rows) * 4, tile.rows, each);
        let right = fragment(k, place.reads[1], b + d * pitch(tile.columns) * 4, tile.columns, each);
        for (a, row) in left.iter().zip(values) {
            for (b, sum) in right.iter().zip(row) {
                op!(k, "fma.rn.f32 {sum}, {a}, {b}, {sum}");
            }
        }
    }
}

/// A thread's elements of one operand at one depth.
fn fragment(k: &mut Emitter, read: Reg, offset: u32, extent: u32, each: u32) -> Vec<Reg> {
    let mut found = vec![];
    for group in 0..each / 4 {
        let [a, b, c, d] = [k.f(), k.f(), k.f(), k.f()];
        let at = offset + group * extent / (each / 4) * 4;
        op!(k, "ld.shared.v4.f32 {{{a}, {b}, {c}, {d}}}, [{read}+{at}]");
        found.extend([a, b, c, d]);
    }
    found
}

/// Global indices of a thread's rows or columns.
pub(super) fn places(k: &mut Emitter, start: Reg, thread: Reg, extent: u32, each: u32) -> Vec<Reg> {
    let first = k.r();
    op!(k, "mad.lo.u32 {first}, {thread}, 4, {start}");
    let mut found = vec![first];
    for i in 1..each {
        let r = k.r();
        op!(k, "add.u32 {r}, {first}, {}", i / 4 * (extent / (each / 4)) + i % 4);
        found.push(r);
    }
    found
}
