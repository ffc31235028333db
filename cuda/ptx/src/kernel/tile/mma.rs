//! Warps that multiply on tensor cores by `mma.sync`.
//!
//! Fragments of `mma` have the layout of the PTX ISA. Let `g = lane / 4` and `t = lane % 4`. A lane holds, of its row or column
//! `g`, depths `t` and `t + 4` of 8 (tf32), or the pairs of depths from `2t` and `2t + 8` on of 16 (bfloat16).
//!
//! Tensor cores truncate what they add, which would bias deep sums of one sign. So they sum only one step of the depth, from zero;
//! an addition that rounds to nearest adds it to the sums.

use dlbc_ops::prim::Transform;

use super::shape::{Math, Tile};
use super::slot::{Pitch, Position, Slot};
use super::source::{Source, transform};
use super::sums::Product;
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::storage::Storage;
use crate::op;

/// Returns the strides and the number of elements of an operand's tile of `extent` lanes. The padding lets the 8 lanes by 4
/// depths of a fragment (pairs of depths for bfloat16) fall into different banks, and aligns copies of 16 bytes.
pub(super) fn pitch(
    source: &dyn Source,
    tile: Tile,
    extent: u32,
    storage: Storage,
    math: Math,
) -> (Pitch, u32) {
    let [deep, across] = match (storage, math) {
        (Storage::F32, Math::Split | Math::Tf32) => [4, 8],
        (Storage::F32, Math::Bf16) => [8, 4],
        (Storage::Bf16 | Storage::F16, _) => [8, 8],
    };
    if source.depth_first() {
        ([1, tile.depth + deep], extent * (tile.depth + deep))
    } else {
        ([extent + across, 1], tile.depth * (extent + across))
    }
}

/// Computes the lane's position, row and column `g` of its warp at its first depth, in the tile that begins at row and column
/// `start`.
pub(super) fn begin(
    k: &mut Emitter,
    tile: Tile,
    [warp_rows, warp_columns]: [u32; 2],
    math: Math,
    slots: [Slot; 2],
    start: (Reg, Reg),
) -> Position {
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
            op!(k, "mad.lo.u32 {at}, {depth}, {}, {smem}", pair * slot.stride(0));
            op!(k, "mad.lo.u32 {at}, {lane}, {}, {at}", slot.stride(1));
        }
        at
    });
    op!(k, "add.u32 {rows}, {rows}, {group}");
    // A lane holds columns 2t and 2t + 1 of the result.
    op!(k, "mad.lo.u32 {columns}, {depth}, 2, {columns}");
    // Global indices, as the start of the tile would take registers until the end.
    op!(k, "add.u32 {rows}, {rows}, {}", start.0);
    op!(k, "add.u32 {columns}, {columns}, {}", start.1);
    Position { rows, columns, reads }
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

/// Elements of one fragment register.
enum Elements {
    /// One float, or two for bfloat16.
    Floats(Vec<Reg>),
    /// Two bfloat16 in a word.
    Packed(Reg),
}

/// Loads the elements of one fragment register, `lane` lanes and `depth` depths from the first element.
fn load(k: &mut Emitter, math: Math, read: Reg, slot: Slot, lane: u32, depth: u32) -> Elements {
    let address = |depth: u32| format!("{read}+{}", slot.offset(lane, depth));
    let single = |k: &mut Emitter, depth: u32| slot.storage.load(k, "shared", address(depth), None);
    if math != Math::Bf16 {
        return Elements::Floats(vec![single(k, depth)]);
    }
    match slot.storage {
        _ if slot.pitch[0] != 1 => Elements::Floats(vec![single(k, depth), single(k, depth + 1)]),
        Storage::F32 => {
            let (v, w) = (k.f(), k.f());
            op!(k, "ld.shared.v2.f32 {{{v}, {w}}}, [{}]", address(depth));
            Elements::Floats(vec![v, w])
        }
        Storage::Bf16 | Storage::F16 => {
            let word = k.r();
            op!(k, "ld.shared.b32 {word}, [{}]", address(depth));
            match slot.storage {
                Storage::Bf16 => Elements::Packed(word),
                storage => Elements::Floats(storage.widen(k, word)),
            }
        }
    }
}

/// Transforms and rounds the elements of a fragment register. Split operands take two registers, unless the upper bits are all.
fn fragment(
    k: &mut Emitter,
    math: Math,
    (operand_transform, storage): (Transform, Storage),
    elements: &Elements,
) -> Vec<Reg> {
    let floats = match (elements, operand_transform) {
        (Elements::Packed(word), Transform::Id) => return vec![*word],
        (Elements::Packed(word), Transform::Abs) => {
            let u = k.r();
            op!(k, "and.b32 {u}, {word}, 0x7fff7fff");
            return vec![u];
        }
        (Elements::Packed(word), _) => Storage::Bf16.widen(k, *word),
        (Elements::Floats(floats), _) => floats.clone(),
    };
    let values: Vec<Reg> = floats.iter().map(|v| transform(k, operand_transform, *v)).collect();
    // Narrow elements have no more than the 11 bits of tf32, and only squares have more.
    let exact = storage != Storage::F32 && operand_transform != Transform::Square;
    match (math, values.as_slice()) {
        (Math::Bf16, [v, w]) => {
            let u = k.r();
            op!(k, "cvt.rn.bf16x2.f32 {u}, {w}, {v}");
            vec![u]
        }
        (Math::Split | Math::Tf32, [v]) if exact => {
            let u = k.r();
            op!(k, "mov.b32 {u}, {v}");
            vec![u]
        }
        (Math::Split, _) => halves(k, values[0]).to_vec(),
        _ => {
            let u = k.r();
            op!(k, "cvt.rna.tf32.f32 {u}, {}", values[0]);
            vec![u]
        }
    }
}

/// Loads a fragment register whose elements are 1.
fn ones(k: &mut Emitter, math: Math) -> Vec<Reg> {
    match math {
        Math::Split | Math::Tf32 => vec![k.mov_u32("0x3f800000")],
        Math::Bf16 => vec![k.mov_u32("0x3f803f80")],
    }
}

/// Returns the products of parts of two operands. Small ones come first: added to the large one, they would lose their low
/// bits.
fn part_pairs(left: usize, right: usize) -> Vec<[usize; 2]> {
    let small = [(left > 1).then_some([1, 0]), (right > 1).then_some([0, 1])];
    small.into_iter().flatten().chain([[0, 0]]).collect()
}

/// Adds the products of the stage at this offset from the first one.
pub(super) fn step(
    k: &mut Emitter,
    tile: Tile,
    ([warp_rows, warp_columns], math): ([u32; 2], Math),
    position: &Position,
    slots: [Slot; 2],
    stage: Option<Reg>,
    products: &[Product<'_>],
) {
    let (deep, half, instruction) = match math {
        Math::Split | Math::Tf32 => (8, 4, "m16n8k8.row.col.f32.tf32.tf32.f32"),
        Math::Bf16 => (16, 8, "m16n8k16.row.col.f32.bf16.bf16.f32"),
    };
    let zero = k.f();
    op!(k, "mov.f32 {zero}, {}", imm(0.0));
    let reads = [0, 1].map(|side| position.read(k, slots, side, stage));
    // Depths of the instructions whose products are summed from zero.
    let depths: Vec<u32> = (0..math.step() as u32).step_by(deep as usize).collect();
    let deep = math.step() as u32;
    // The steps are a loop of the kernel: unrolled, the assembler would begin products of the next step before it has added those
    // of this one, and run out of registers.
    let steps = tile.depth / deep;
    let (moving, top) = (usize::from(slots[0].transform == Transform::One), k.label("PRODUCTS"));
    if steps > 1 {
        k.place(&top);
        op!(k, ".pragma \"nounroll\"");
    }
    let words = |k: &mut Emitter, side: usize, lanes: &[(u32, u32)]| -> Vec<Elements> {
        let mut word = |(lane, depth): &(u32, u32)| match slots[side].transform {
            Transform::One => Elements::Floats(vec![]),
            _ => load(k, math, reads[side], slots[side], *lane, *depth),
        };
        lanes.iter().map(&mut word).collect()
    };
    let fragments = |k: &mut Emitter, side: usize, transform: Transform, words: &[Elements]| {
        let mut registers = |word: &Elements| match transform {
            Transform::One => ones(k, math),
            transform => fragment(k, math, (transform, slots[side].storage), word),
        };
        words.iter().map(&mut registers).collect::<Vec<Vec<Reg>>>()
    };
    // Fragments of an operand by product and instruction. `lanes` and depths count from the first element.
    let operand = |k: &mut Emitter, side: usize, lanes: &[(u32, u32)]| -> Vec<Vec<Vec<Vec<Reg>>>> {
        let shifted = |d: u32| -> Vec<_> { lanes.iter().map(|(lane, depth)| (*lane, d + depth)).collect() };
        let loaded: Vec<_> = depths.iter().map(|d| words(k, side, &shifted(*d))).collect();
        let mut parts = |p: &Product<'_>| {
            loaded.iter().map(|words| fragments(k, side, p.transforms[side], words)).collect()
        };
        products.iter().map(&mut parts).collect()
    };
    let right: Vec<_> = (0..warp_columns / 8).map(|j| operand(k, 1, &[(8 * j, 0), (8 * j, half)])).collect();
    for (i, row) in (0..warp_rows).step_by(16).enumerate() {
        let left = operand(k, 0, &[(row, 0), (row + 8, 0), (row, half), (row + 8, half)]);
        for (j, right) in right.iter().enumerate() {
            for (first, product) in products.iter().enumerate() {
                // Products that are added to the same sums are added to one another first.
                let same = |p: &usize| std::ptr::eq(products[*p].sums, product.sums);
                let together: Vec<usize> = (0..products.len()).filter(same).collect();
                if together[0] != first {
                    continue;
                }
                let partial = [k.f(), k.f(), k.f(), k.f()];
                let mut c = [zero; 4];
                for (left, right) in together.iter().flat_map(|p| left[*p].iter().zip(&right[*p])) {
                    for [part_a, part_b] in part_pairs(left[0].len(), right[0].len()) {
                        let a: Vec<String> = left.iter().map(|h| h[part_a].to_string()).collect();
                        let b: Vec<String> = right.iter().map(|h| h[part_b].to_string()).collect();
                        let list = |registers: &[Reg; 4]| registers.map(|r| r.to_string()).join(", ");
                        op!(
                            k,
                            "mma.sync.aligned.{instruction} {{{}}}, {{{}}}, {{{}}}, {{{}}}",
                            list(&partial),
                            a.join(", "),
                            b.join(", "),
                            list(&c)
                        );
                        c = partial;
                    }
                }
                let sums = &product.sums[2 * i..][..2];
                let targets = [sums[0][2 * j], sums[0][2 * j + 1], sums[1][2 * j], sums[1][2 * j + 1]];
                for (sum, v) in targets.into_iter().zip(partial) {
                    op!(k, "add.rn.f32 {sum}, {sum}, {v}");
                }
            }
        }
    }
    if steps > 1 {
        for (read, slot) in reads.iter().zip(slots).filter(|(_, s)| s.transform != Transform::One) {
            op!(k, "add.u32 {read}, {read}, {}", deep * slot.stride(0));
        }
        // The end is computed anew, since a register that holds it or counts would be one too many.
        let (more, end) = (k.p(), position.read(k, slots, moving, stage));
        op!(k, "add.u32 {end}, {end}, {}", tile.depth * slots[moving].stride(0));
        op!(k, "setp.lt.u32 {more}, {}, {end}", reads[moving]);
        op!(k, "@{more} bra {top}");
    }
}

/// Computes the global indices of a lane's rows and columns.
pub(super) fn indices(
    k: &mut Emitter,
    [warp_rows, warp_columns]: [u32; 2],
    position: &Position,
) -> [Vec<Reg>; 2] {
    let mut list = |first: Reg, offsets: Vec<u32>| -> Vec<Reg> {
        let mut shifted = |offset: u32| {
            let r = k.r();
            op!(k, "add.u32 {r}, {first}, {offset}");
            r
        };
        offsets.into_iter().map(&mut shifted).collect()
    };
    let rows = list(position.rows, (0..warp_rows / 8).map(|i| 8 * i).collect());
    let columns = list(position.columns, (0..warp_columns / 4).map(|i| i / 2 * 8 + i % 2).collect());
    [rows, columns]
}
