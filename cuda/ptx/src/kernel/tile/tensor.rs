//! Warps that multiply on tensor cores.
//!
//! Fragments of `mma` have the layout of the PTX ISA. Let `g = lane / 4` and `t = lane % 4`. A lane holds, of its row or column
//! `g`, depths `t` and `t + 4` of 8 (tf32), or the pairs of depths from `2t` and `2t + 8` on of 16 (bfloat16).

use dlbc_ops::prim::Transform;

use super::ring::Slot;
use super::{Math, Position, Tile, transform};
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Computes the lane's position, row and column `g` of its warp at its first depth, and zeroes its sums.
pub(super) fn begin(
    k: &mut Emitter,
    tile: Tile,
    [warp_rows, warp_columns]: [u32; 2],
    math: Math,
    slots: [Slot; 2],
) -> (Position, Vec<Vec<Reg>>) {
    let (tid, smem) = (k.mov_u32("%tid.x"), k.mov_u32("smem"));
    let across = tile.columns / warp_columns;
    let (warp, lane, group, depth) = (k.r(), k.r(), k.r(), k.r());
    op!(k, "shr.u32 {warp}, {tid}, 5");
    op!(k, "and.b32 {lane}, {tid}, 31");
    op!(k, "shr.u32 {group}, {lane}, 2");
    op!(k, "and.b32 {depth}, {lane}, 3");
    let (rows, columns) = (k.r(), k.r());
    op!(k, "and.b32 {columns}, {warp}, {}", across - 1);
    op!(k, "shr.u32 {rows}, {warp}, {}", across.trailing_zeros());
    op!(k, "mul.lo.u32 {columns}, {columns}, {warp_columns}");
    op!(k, "mul.lo.u32 {rows}, {rows}, {warp_rows}");
    let pair = if math == Math::Bf16 { 2 } else { 1 };
    let reads = [(rows, slots[0]), (columns, slots[1])].map(|(start, slot)| {
        let at = k.r();
        if slot.transform != Transform::One {
            let lane = k.r();
            op!(k, "add.u32 {lane}, {start}, {group}");
            op!(k, "mad.lo.u32 {at}, {depth}, {}, {smem}", 4 * pair * slot.pitch[0]);
            op!(k, "mad.lo.u32 {at}, {lane}, {}, {at}", 4 * slot.pitch[1]);
        }
        at
    });
    op!(k, "add.u32 {rows}, {rows}, {group}");
    // A lane holds columns 2t and 2t + 1 of the result.
    op!(k, "mad.lo.u32 {columns}, {depth}, 2, {columns}");
    (Position { rows, columns, reads }, zeros(k, [warp_rows, warp_columns]))
}

/// Declares and zeroes the sums of a lane, by row and then by column.
pub(super) fn zeros(k: &mut Emitter, [warp_rows, warp_columns]: [u32; 2]) -> Vec<Vec<Reg>> {
    let values: Vec<Vec<Reg>> =
        (0..warp_rows / 8).map(|_| (0..warp_columns / 4).map(|_| k.f()).collect()).collect();
    for v in values.iter().flatten() {
        op!(k, "mov.f32 {v}, {}", imm(0.0));
    }
    values
}

/// Splits a float into two tf32 operands: its upper bits, and the upper bits of the remainder.
pub(in crate::kernel) fn halves(k: &mut Emitter, v: Reg) -> [Reg; 2] {
    let (upper, rest) = (k.f(), k.f());
    let (high, low) = (k.r(), k.r());
    op!(k, "mov.b32 {high}, {v}");
    op!(k, "and.b32 {high}, {high}, 0xffffe000");
    op!(k, "mov.b32 {upper}, {high}");
    op!(k, "sub.rn.f32 {rest}, {v}, {upper}");
    op!(k, "mov.b32 {low}, {rest}");
    op!(k, "and.b32 {low}, {low}, 0xffffe000");
    [high, low]
}

/// Loads the floats of one fragment register, `lane` lanes and `depth` depths from the first element: one float, or two for
/// bfloat16.
fn load(k: &mut Emitter, math: Math, read: Reg, slot: Slot, lane: u32, depth: u32) -> Vec<Reg> {
    let at = |depth: u32| slot.base + 4 * (depth * slot.pitch[0] + lane * slot.pitch[1]);
    let load_one = |k: &mut Emitter, depth: u32| {
        let v = k.f();
        op!(k, "ld.shared.f32 {v}, [{read}+{}]", at(depth));
        v
    };
    match math {
        Math::Split | Math::Tf32 => vec![load_one(k, depth)],
        Math::Bf16 if slot.pitch[0] == 1 => {
            let (v, w) = (k.f(), k.f());
            op!(k, "ld.shared.v2.f32 {{{v}, {w}}}, [{read}+{}]", at(depth));
            vec![v, w]
        }
        Math::Bf16 => vec![load_one(k, depth), load_one(k, depth + 1)],
    }
}

/// Transforms and rounds loaded floats to a fragment register, or to two for split operands.
fn fragment(k: &mut Emitter, math: Math, operand_transform: Transform, floats: &[Reg]) -> Vec<Reg> {
    let values: Vec<Reg> = floats.iter().map(|v| transform(k, operand_transform, *v)).collect();
    if math == Math::Split {
        return halves(k, values[0]).to_vec();
    }
    let u = k.r();
    match values.as_slice() {
        [v, w] => op!(k, "cvt.rn.bf16x2.f32 {u}, {w}, {v}"),
        several => several.iter().for_each(|v| op!(k, "cvt.rna.tf32.f32 {u}, {v}")),
    }
    vec![u]
}

/// Loads a fragment register whose elements are 1, or two for split operands.
fn ones(k: &mut Emitter, math: Math) -> Vec<Reg> {
    match math {
        Math::Split => vec![k.mov_u32("0x3f800000"), k.mov_u32("0")],
        Math::Tf32 => vec![k.mov_u32("0x3f800000")],
        Math::Bf16 => vec![k.mov_u32("0x3f803f80")],
    }
}

/// Adds the products of the stage at byte `stage` of the ring. Each product has the transforms of its operands and the sums to
/// which it is added.
pub(super) fn step(
    k: &mut Emitter,
    tile: Tile,
    ([warp_rows, warp_columns], math): ([u32; 2], Math),
    position: &Position,
    slots: [Slot; 2],
    stage: Reg,
    products: &[([Transform; 2], &Vec<Vec<Reg>>)],
) {
    let reads = [0, 1].map(|i| {
        let read = k.r();
        if slots[i].transform != Transform::One {
            op!(k, "add.u32 {read}, {}, {stage}", position.reads[i]);
        }
        read
    });
    let (deep, half, instruction) = match math {
        Math::Split | Math::Tf32 => (8, 4, "m16n8k8.row.col.f32.tf32.tf32.f32"),
        Math::Bf16 => (16, 8, "m16n8k16.row.col.f32.bf16.bf16.f32"),
    };
    let part_pairs: &[[usize; 2]] = match math {
        // Small products first: added to the large one, they would lose their low bits.
        Math::Split => &[[1, 0], [0, 1], [0, 0]],
        Math::Tf32 | Math::Bf16 => &[[0, 0]],
    };
    for d in (0..tile.depth).step_by(deep as usize) {
        let words = |k: &mut Emitter, side: usize, lanes: &[(u32, u32)]| -> Vec<Vec<Reg>> {
            let mut word = |(lane, depth): &(u32, u32)| match slots[side].transform {
                Transform::One => vec![],
                _ => load(k, math, reads[side], slots[side], *lane, d + depth),
            };
            lanes.iter().map(&mut word).collect()
        };
        let fragments = |k: &mut Emitter, transform: Transform, words: &[Vec<Reg>]| -> Vec<Vec<Reg>> {
            let mut registers = |word: &Vec<Reg>| match transform {
                Transform::One => ones(k, math),
                transform => fragment(k, math, transform, word),
            };
            words.iter().map(&mut registers).collect()
        };
        let loaded: Vec<_> =
            (0..warp_columns / 8).map(|j| words(k, 1, &[(8 * j, 0), (8 * j, half)])).collect();
        let right: Vec<Vec<_>> = products
            .iter()
            .map(|([_, transform], _)| loaded.iter().map(|words| fragments(k, *transform, words)).collect())
            .collect();
        for (i, row) in (0..warp_rows).step_by(16).enumerate() {
            let loaded = words(k, 0, &[(row, 0), (row + 8, 0), (row, half), (row + 8, half)]);
            for (([transform, _], values), right) in products.iter().zip(&right) {
                let left = fragments(k, *transform, &loaded);
                for [part_a, part_b] in part_pairs {
                    let a: Vec<String> = left.iter().map(|h| h[*part_a].to_string()).collect();
                    for (j, right) in right.iter().enumerate() {
                        let [c0, c1] = [values[2 * i][2 * j], values[2 * i][2 * j + 1]];
                        let [c2, c3] = [values[2 * i + 1][2 * j], values[2 * i + 1][2 * j + 1]];
                        let b: Vec<String> = right.iter().map(|h| h[*part_b].to_string()).collect();
                        op!(
                            k,
                            "mma.sync.aligned.{instruction} {{{c0}, {c1}, {c2}, {c3}}}, {{{}}}, {{{}}}, {{{c0}, {c1}, {c2}, {c3}}}",
                            a.join(", "),
                            b.join(", ")
                        );
                    }
                }
            }
        }
    }
}

/// Computes the global indices of a lane's rows and columns.
pub(super) fn indices(
    k: &mut Emitter,
    [warp_rows, warp_columns]: [u32; 2],
    position: &Position,
    row: Reg,
    column: Reg,
) -> (Vec<Reg>, Vec<Reg>) {
    let mut list = |start: Reg, lane_start: Reg, offsets: Vec<u32>| -> Vec<Reg> {
        let mut shifted = |offset: u32| {
            let r = k.r();
            op!(k, "add.u32 {r}, {start}, {lane_start}");
            if offset > 0 {
                op!(k, "add.u32 {r}, {r}, {offset}");
            }
            r
        };
        offsets.into_iter().map(&mut shifted).collect()
    };
    let rows = list(row, position.rows, (0..warp_rows / 8).map(|i| 8 * i).collect());
    let columns = list(column, position.columns, (0..warp_columns / 4).map(|i| i / 2 * 8 + i % 2).collect());
    (rows, columns)
}
