//! A ring of stages in shared memory: asynchronous copies fill the stages ahead while tensor cores multiply the one that has
//! arrived.

use dlbc_ops::prim::Transform;

use super::{Depths, Math, Pitch, SecondProduct, Share, Source, Sums, Tile, share, tensor};
use crate::emit::{Emitter, Reg};
use crate::op;

/// Stages of the ring: one is multiplied, the others are being filled.
const STAGES: u32 = 3;

/// An operand in a stage of the ring. An operand with the transform `One` takes no memory.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Offset of the operand's tile in a stage, in bytes.
    pub(super) base: u32,
    pub(super) pitch: Pitch,
    pub(super) transform: Transform,
}

/// Returns the strides and the size of an operand's tile, in words. The padding lets the 8 lanes by 4 depths of a fragment
/// (pairs of depths for bfloat16) fall into different banks, and aligns copies of 16 bytes.
fn pitch(source: &dyn Source, tile: Tile, extent: u32, math: Math) -> (Pitch, u32) {
    let [deep, across] = if math == Math::Bf16 { [8, 4] } else { [4, 8] };
    if source.depth_first() {
        ([1, tile.depth + deep], extent * (tile.depth + deep))
    } else {
        ([extent + across, 1], tile.depth * (extent + across))
    }
}

impl Share {
    /// Starts the copies of the stage at byte `stage` of the ring, from depth `at` on and below `limit`. `edge` are the bytes of a
    /// vectorised copy that exist.
    fn copy(&self, k: &mut Emitter, source: &dyn Source, edge: Option<Reg>, at: Reg, limit: Reg, stage: Reg) {
        let target = k.r();
        op!(k, "add.u32 {target}, {}, {stage}", self.first);
        let mut copies = 0;
        for depth in &self.depths {
            let (here, inside) = (k.r(), k.p());
            op!(k, "add.u32 {here}, {at}, {depth}");
            op!(k, "setp.lt.u32 {inside}, {here}, {limit}");
            // A vectorised copy along the depth takes only the elements before the end.
            let left = (source.vectorised() && source.depth_first()).then(|| {
                let left = k.r();
                op!(k, "sub.u32 {left}, {limit}, {here}");
                op!(k, "min.u32 {left}, {left}, 4");
                op!(k, "shl.b32 {left}, {left}, 2");
                left
            });
            for lane in &self.lanes {
                let (address, exists) = source.address(k, lane, here, Some(inside));
                let bytes = match (left.or(edge), exists) {
                    (Some(left), Some(exists)) => select(k, left, exists),
                    (None, Some(exists)) => select(k, 4, exists),
                    (Some(left), None) => left,
                    (None, None) => k.mov_u32("4"),
                };
                let (cache, width) = if source.vectorised() { ("cg", 16) } else { ("ca", 4) };
                op!(
                    k,
                    "cp.async.{cache}.shared.global [{target}+{}], [{address}], {width}, {bytes}",
                    copies * self.step
                );
                copies += 1;
            }
        }
    }
}

fn select(k: &mut Emitter, bytes: impl std::fmt::Display, exists: Reg) -> Reg {
    let r = k.r();
    op!(k, "selp.u32 {r}, {bytes}, 0, {exists}");
    r
}

/// Returns the bytes of a vectorised copy along the lanes that exist; `None` for other copies.
fn edge(k: &mut Emitter, source: &dyn Source, share: &Share) -> Option<Reg> {
    (source.vectorised() && !source.depth_first()).then(|| {
        let left = k.r();
        op!(k, "sub.u32 {left}, {}, {}", source.lanes(), share.lane);
        op!(k, "min.u32 {left}, {left}, 4");
        op!(k, "shl.b32 {left}, {left}, 2");
        left
    })
}

/// Emits the product on tensor cores.
pub(super) fn multiply(
    k: &mut Emitter,
    tile: Tile,
    (warp, math, second): ([u32; 2], Math, Option<SecondProduct>),
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depths: Depths,
) -> Sums {
    let (mut stage_bytes, mut slots) = (0, vec![]);
    for (source, extent) in [(a, tile.rows), (b, tile.columns)] {
        let (pitch, words) = pitch(source, tile, extent, math);
        slots.push(Slot { base: stage_bytes, pitch, transform: source.transform() });
        stage_bytes += if source.transform() == Transform::One { 0 } else { 4 * words };
    }
    let base = k.shared(STAGES * stage_bytes);
    // 128 registers per thread hold the sums and fragments of the large tile; two sets of sums need more.
    let threads = if second.is_some_and(|s| s.separate) { 256 } else { 512 };
    k.set_resident_blocks(threads / tile.threads());
    slots.iter_mut().for_each(|s| s.base += base);
    let mut shares = vec![];
    for ((source, slot), (extent, start)) in
        [a, b].into_iter().zip(&slots).zip([(tile.rows, row), (tile.columns, column)])
    {
        if source.transform() != Transform::One {
            let width = if source.vectorised() { 4 } else { 1 };
            let share = share(k, tile, source, (extent, start), width, (slot.base, slot.pitch));
            let edge = edge(k, source, &share);
            shares.push((source, share, edge));
        }
    }
    let (position, values) = tensor::begin(k, tile, warp, math, [slots[0], slots[1]]);
    let separate = second.filter(|s| s.separate).map(|_| tensor::zeros(k, warp));

    let at = k.mov_u32(&depths.from.to_string());
    let (fill_stage, read_stage) = (k.mov_u32("0"), k.mov_u32("0"));
    let issue = |k: &mut Emitter| {
        for (source, share, edge) in &shares {
            share.copy(k, *source, *edge, at, depths.to, fill_stage);
        }
        op!(k, "cp.async.commit_group");
        op!(k, "add.u32 {at}, {at}, {}", tile.depth);
    };
    for _ in 0..STAGES - 1 {
        issue(k);
        op!(k, "add.u32 {fill_stage}, {fill_stage}, {stage_bytes}");
    }
    // The copies are `STAGES - 1` stages ahead.
    let end = k.r();
    op!(k, "add.u32 {end}, {}, {}", depths.to, (STAGES - 1) * tile.depth);
    let advance = |k: &mut Emitter, stage: Reg| {
        let wrap = k.p();
        op!(k, "add.u32 {stage}, {stage}, {stage_bytes}");
        op!(k, "setp.ge.u32 {wrap}, {stage}, {}", STAGES * stage_bytes);
        op!(k, "selp.u32 {stage}, 0, {stage}, {wrap}");
    };
    let top = k.label("STEP");
    k.place(&top);
    op!(k, "cp.async.wait_group {}", STAGES - 2);
    // All threads see the stage that has arrived, and have finished reading the one that is refilled.
    op!(k, "bar.sync 0");
    issue(k);
    advance(k, fill_stage);
    let mut products = vec![([slots[0].transform, slots[1].transform], &values)];
    products.extend(second.map(|s| (s.transforms, separate.as_ref().unwrap_or(&values))));
    tensor::step(k, tile, (warp, math), &position, [slots[0], slots[1]], read_stage, &products);
    advance(k, read_stage);
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {at}, {end}");
    op!(k, "@{more} bra {top}");
    op!(k, "cp.async.wait_group 0");
    let (rows, columns) = tensor::indices(k, warp, &position, row, column);
    Sums { rows, columns, values, second: separate }
}
