//! Warps that multiply on tensor cores.
//!
//! Fragments of `mma` lie as the PTX ISA says: a lane's group is a quarter of it, `g = lane / 4`, `t = lane % 4`. Of tf32
//! operands a lane has depths t and t + 4 of 8, of bfloat16 ones the pairs from 2t and 2t + 8 on of 16.

use dlbc_ops::prim::Transform;

use super::ring::Slot;
use super::{Math, Place, Tile, part};
use crate::emit::{Emitter, Reg, imm};
use crate::op;

/// Where this lane's elements begin: row and column `g` of the warp, and there at its first depth.
pub(super) fn begin(
    k: &mut Emitter,
    tile: Tile,
    [high, wide]: [u32; 2],
    math: Math,
    slots: [Slot; 2],
) -> (Place, Vec<Vec<Reg>>) {
    let (tid, smem) = (k.mov_u32("%tid.x"), k.mov_u32("smem"));
    let across = tile.columns / wide;
    let (warp, lane, group, depth) = (k.r(), k.r(), k.r(), k.r());
    op!(k, "shr.u32 {warp}, {tid}, 5");
    op!(k, "and.b32 {lane}, {tid}, 31");
    op!(k, "shr.u32 {group}, {lane}, 2");
    op!(k, "and.b32 {depth}, {lane}, 3");
    let (rows, columns) = (k.r(), k.r());
    op!(k, "and.b32 {columns}, {warp}, {}", across - 1);
    op!(k, "shr.u32 {rows}, {warp}, {}", across.trailing_zeros());
    op!(k, "mul.lo.u32 {columns}, {columns}, {wide}");
    op!(k, "mul.lo.u32 {rows}, {rows}, {high}");
    let pair = if math == Math::Bf16 { 2 } else { 1 };
    let reads = [(rows, slots[0]), (columns, slots[1])].map(|(start, slot)| {
        let at = k.r();
        if slot.part != Transform::One {
            let own = k.r();
            op!(k, "add.u32 {own}, {start}, {group}");
            op!(k, "mad.lo.u32 {at}, {depth}, {}, {smem}", 4 * pair * slot.pitch[0]);
            op!(k, "mad.lo.u32 {at}, {own}, {}, {at}", 4 * slot.pitch[1]);
        }
        at
    });
    op!(k, "add.u32 {rows}, {rows}, {group}");
    // Of the result a lane has the columns 2t and 2t + 1.
    op!(k, "mad.lo.u32 {columns}, {depth}, 2, {columns}");
    (Place { rows, columns, reads }, zeros(k, [high, wide]))
}

/// Sums of a lane, by row and column.
pub(super) fn zeros(k: &mut Emitter, [high, wide]: [u32; 2]) -> Vec<Vec<Reg>> {
    let values: Vec<Vec<Reg>> = (0..high / 8).map(|_| (0..wide / 4).map(|_| k.f()).collect()).collect();
    for v in values.iter().flatten() {
        op!(k, "mov.f32 {v}, {}", imm(0.0));
    }
    values
}

/// A float as two tf32 operands: its upper bits, and the upper bits of what is left.
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

/// What a register of a fragment is made of, `lane` lanes and `depth` depths from this lane's first element: one float, of
/// bfloat16 operands two.
fn load(k: &mut Emitter, math: Math, read: Reg, slot: Slot, lane: u32, depth: u32) -> Vec<Reg> {
    let at = |depth: u32| slot.base + 4 * (depth * slot.pitch[0] + lane * slot.pitch[1]);
    let one = |k: &mut Emitter, depth: u32| {
        let v = k.f();
        op!(k, "ld.shared.f32 {v}, [{read}+{}]", at(depth));
        v
    };
    match math {
        Math::Split | Math::Tf32 => vec![one(k, depth)],
        Math::Bf16 if slot.pitch[0] == 1 => {
            let (v, w) = (k.f(), k.f());
            op!(k, "ld.shared.v2.f32 {{{v}, {w}}}, [{read}+{}]", at(depth));
            vec![v, w]
        }
        Math::Bf16 => vec![one(k, depth), one(k, depth + 1)],
    }
}

/// A register of a fragment of a part of the operand; of split operands two.
fn fragment(k: &mut Emitter, math: Math, of: Transform, loaded: &[Reg]) -> Vec<Reg> {
    let values: Vec<Reg> = loaded.iter().map(|v| part(k, of, *v)).collect();
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

/// A register of a fragment that is 1 everywhere.
fn ones(k: &mut Emitter, math: Math) -> Vec<Reg> {
    match math {
        Math::Split => vec![k.mov_u32("0x3f800000"), k.mov_u32("0")],
        Math::Tf32 => vec![k.mov_u32("0x3f800000")],
        Math::Bf16 => vec![k.mov_u32("0x3f803f80")],
    }
}

/// The products of one step, which lies `from` bytes from the first: of these parts, added to these sums.
pub(super) fn step(
    k: &mut Emitter,
    tile: Tile,
    ([high, wide], math): ([u32; 2], Math),
    place: &Place,
    slots: [Slot; 2],
    from: Reg,
    products: &[([Transform; 2], &Vec<Vec<Reg>>)],
) {
    let reads = [0, 1].map(|i| {
        let read = k.r();
        if slots[i].part != Transform::One {
            op!(k, "add.u32 {read}, {}, {from}", place.reads[i]);
        }
        read
    });
    let (deep, half, instruction) = match math {
        Math::Split | Math::Tf32 => (8, 4, "m16n8k8.row.col.f32.tf32.tf32.f32"),
        Math::Bf16 => (16, 8, "m16n8k16.row.col.f32.bf16.bf16.f32"),
    };
    let turns: &[[usize; 2]] = match math {
        // The small products first: they would be lost beside the large one.
        Math::Split => &[[1, 0], [0, 1], [0, 0]],
        Math::Tf32 | Math::Bf16 => &[[0, 0]],
    };
    for d in (0..tile.depth).step_by(deep as usize) {
        let words = |k: &mut Emitter, side: usize, lanes: &[(u32, u32)]| -> Vec<Vec<Reg>> {
            let mut word = |(lane, depth): &(u32, u32)| match slots[side].part {
                Transform::One => vec![],
                _ => load(k, math, reads[side], slots[side], *lane, d + depth),
            };
            lanes.iter().map(&mut word).collect()
        };
        let fragments = |k: &mut Emitter, of: Transform, words: &[Vec<Reg>]| -> Vec<Vec<Reg>> {
            let mut made = |word: &Vec<Reg>| match of {
                Transform::One => ones(k, math),
                of => fragment(k, math, of, word),
            };
            words.iter().map(&mut made).collect()
        };
        let loaded: Vec<_> = (0..wide / 8).map(|j| words(k, 1, &[(8 * j, 0), (8 * j, half)])).collect();
        let right: Vec<Vec<_>> = products
            .iter()
            .map(|([_, of], _)| loaded.iter().map(|words| fragments(k, *of, words)).collect())
            .collect();
        for (i, row) in (0..high).step_by(16).enumerate() {
            let loaded = words(k, 0, &[(row, 0), (row + 8, 0), (row, half), (row + 8, half)]);
            for (([of, _], values), right) in products.iter().zip(&right) {
                let left = fragments(k, *of, &loaded);
                for [part_a, part_b] in turns {
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

/// Global indices of a lane's rows and columns.
pub(super) fn places(
    k: &mut Emitter,
    [high, wide]: [u32; 2],
    place: &Place,
    row: Reg,
    column: Reg,
) -> (Vec<Reg>, Vec<Reg>) {
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
    let rows = list(row, place.rows, (0..high / 8).map(|i| 8 * i).collect());
    let columns = list(column, place.columns, (0..wide / 4).map(|i| i / 2 * 8 + i % 2).collect());
    (rows, columns)
}
