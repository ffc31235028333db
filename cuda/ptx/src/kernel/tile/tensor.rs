//! Warps that multiply 32 rows by 32 columns on tensor cores, in float32 by three tf32 products.
//!
//! Fragments of `mma.m16n8k8` lie as the PTX ISA says: a lane's group is a quarter of it, `g = lane / 4`, `t = lane % 4`.

use super::{Place, Tile};
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Fragments of 16 rows, and of 8 columns, in a warp.
const ROWS: u32 = 2;
const COLUMNS: u32 = 4;

/// Where this lane's elements begin: row and column `g` of the warp, and there at depth `t`.
pub(super) fn begin(k: &mut Emitter, tile: Tile) -> (Place, Vec<Vec<Reg>>) {
    let (tid, smem) = (k.mov_u32("%tid.x"), k.mov_u32("smem"));
    let across = tile.columns / 32;
    let (warp, lane, group, depth) = (k.r(), k.r(), k.r(), k.r());
    op!(k, "shr.u32 {warp}, {tid}, 5");
    op!(k, "and.b32 {lane}, {tid}, 31");
    op!(k, "shr.u32 {group}, {lane}, 2");
    op!(k, "and.b32 {depth}, {lane}, 3");
    let (rows, columns) = (k.r(), k.r());
    op!(k, "and.b32 {columns}, {warp}, {}", across - 1);
    op!(k, "shr.u32 {rows}, {warp}, {}", across.trailing_zeros());
    op!(k, "shl.b32 {columns}, {columns}, 5");
    op!(k, "shl.b32 {rows}, {rows}, 5");
    let reads = [(rows, tile.rows), (columns, tile.columns)].map(|(start, extent)| {
        let (at, own) = (k.r(), k.r());
        op!(k, "add.u32 {own}, {start}, {group}");
        op!(k, "mad.lo.u32 {at}, {depth}, {}, {own}", tile.pitch(extent));
        op!(k, "mad.lo.u32 {at}, {at}, 4, {smem}");
        at
    });
    op!(k, "add.u32 {rows}, {rows}, {group}");
    // Of the result a lane has the columns 2t and 2t + 1.
    op!(k, "mad.lo.u32 {columns}, {depth}, 2, {columns}");
    let values: Vec<Vec<Reg>> = (0..2 * ROWS).map(|_| (0..2 * COLUMNS).map(|_| k.f()).collect()).collect();
    for v in values.iter().flatten() {
        op!(k, "mov.f32 {v}, {}", imm(0.0));
    }
    (Place { rows, columns, reads }, values)
}

/// A float as two tf32 operands: its upper bits, and the upper bits of what is left.
fn halves(k: &mut Emitter, read: Reg, offset: u32) -> [Reg; 2] {
    let (v, upper, rest) = (k.f(), k.f(), k.f());
    let (high, low) = (k.r(), k.r());
    op!(k, "ld.shared.f32 {v}, [{read}+{offset}]");
    op!(k, "mov.b32 {high}, {v}");
    op!(k, "and.b32 {high}, {high}, 0xffffe000");
    op!(k, "mov.b32 {upper}, {high}");
    op!(k, "sub.rn.f32 {rest}, {v}, {upper}");
    op!(k, "mov.b32 {low}, {rest}");
    op!(k, "and.b32 {low}, {low}, 0xffffe000");
    [high, low]
}

/// The products of one step.
pub(super) fn step(k: &mut Emitter, tile: Tile, place: &Place, [a, b]: [u32; 2], values: &[Vec<Reg>]) {
    let (a_pitch, b_pitch) = (tile.pitch(tile.rows), tile.pitch(tile.columns));
    for d in (0..tile.depth).step_by(8) {
        let mut fragment = |read: Reg, words: &[u32]| -> Vec<[Reg; 2]> {
            words.iter().map(|w| halves(k, read, w * 4)).collect()
        };
        let left: Vec<_> = (0..ROWS)
            .map(|i| {
                let word = |row: u32, depth: u32| a / 4 + (d + depth) * a_pitch + 16 * i + row;
                fragment(place.reads[0], &[word(0, 0), word(8, 0), word(0, 4), word(8, 4)])
            })
            .collect();
        let right: Vec<_> = (0..COLUMNS)
            .map(|j| {
                let word = |depth: u32| b / 4 + (d + depth) * b_pitch + 8 * j;
                fragment(place.reads[1], &[word(0), word(4)])
            })
            .collect();
        // The small products first: they would be lost beside the large one.
        for [part_a, part_b] in [[1, 0], [0, 1], [0, 0]] {
            for (i, left) in left.iter().enumerate() {
                for (j, right) in right.iter().enumerate() {
                    let [c0, c1] = [values[2 * i][2 * j], values[2 * i][2 * j + 1]];
                    let [c2, c3] = [values[2 * i + 1][2 * j], values[2 * i + 1][2 * j + 1]];
                    let a: Vec<String> = left.iter().map(|h| h[part_a].to_string()).collect();
                    let b: Vec<String> = right.iter().map(|h| h[part_b].to_string()).collect();
                    op!(
                        k,
                        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {{{c0}, {c1}, {c2}, {c3}}}, {{{}}}, {{{}}}, \
                         {{{c0}, {c1}, {c2}, {c3}}}",
                        a.join(", "),
                        b.join(", ")
                    );
                }
            }
        }
    }
}

/// Global indices of a lane's rows and columns.
pub(super) fn places(k: &mut Emitter, place: &Place, row: Reg, column: Reg) -> (Vec<Reg>, Vec<Reg>) {
    let mut list = |start: Reg, own: Reg, offsets: Vec<u32>| -> Vec<Reg> {
        let mut at = |offset: u32| {
            let r = k.r();
            op!(k, "add.u32 {r}, {start}, {own}");
            if offset > 0 {
                op!(k, "add.u32 {r}, {r}, {offset}");
            }
            r
        };
        offsets.into_iter().map(&mut at).collect()
    };
    let rows = list(row, place.rows, (0..2 * ROWS).map(|i| 8 * i).collect());
    let columns = list(column, place.columns, (0..2 * COLUMNS).map(|i| i / 2 * 8 + i % 2).collect());
    (rows, columns)
}
