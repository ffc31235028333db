//! Transfer by asynchronous copies: they fill a ring of stages in shared memory ahead of the stage that is multiplied.

use dlbc_ops::prim::Transform;

use super::shape::Tile;
use super::share::Share;
use super::slot::Slot;
use super::source::{Depths, Source};
use super::sums::{Accumulators, SecondProduct, Sums};
use super::unit::layout;
use crate::emit::{Emitter, Reg};
use crate::kernel::storage::Storage;
use crate::op;

/// Stages of the ring: one is multiplied, the others are being filled.
const STAGES: u32 = 3;

/// An operand and the thread's share of it.
struct Operand<'a> {
    source: &'a dyn Source,
    share: Share,
    /// Bytes of a vectorised copy along the lanes that exist; `None` for other copies.
    edge: Option<Reg>,
}

impl<'a> Operand<'a> {
    fn new(
        k: &mut Emitter,
        tile: Tile,
        source: &'a dyn Source,
        place: (u32, Reg),
        slot: Slot,
    ) -> Operand<'a> {
        // A copy keeps elements together, so those that are adjacent in memory must be so in shared memory.
        let together = slot.pitch[usize::from(!source.depth_first())] == 1;
        // Every thread copies something.
        let share = place.0 * tile.depth / tile.threads();
        let width = if source.vectorised() && together { slot.storage.group().min(share) } else { 1 };
        let share = Share::new(k, tile, source, place, width, slot);
        let ragged = width > 1 && slot.storage == Storage::F32;
        let edge = (ragged && !source.depth_first()).then(|| remaining(k, source.lanes(), share.lane, width));
        Operand { source, share, edge }
    }

    /// Starts the copies of the stage at byte `stage` of the ring, from depth `at` on and below `limit`.
    fn copy(&self, k: &mut Emitter, at: Reg, limit: Reg, stage: Reg) {
        let Operand { source, share, edge } = self;
        let storage = source.storage();
        let target = k.r();
        op!(k, "add.u32 {target}, {}, {stage}", share.first);
        let bytes = share.width * storage.bytes();
        let cache = if bytes == 16 { "cg" } else { "ca" };
        let mut copies = 0;
        for depth in &share.depths {
            let (here, inside) = (k.r(), k.p());
            op!(k, "add.u32 {here}, {at}, {depth}");
            op!(k, "setp.lt.u32 {inside}, {here}, {limit}");
            // A vectorised copy along the depth takes only the elements before the end.
            let ragged = share.width > 1 && storage == Storage::F32 && source.depth_first();
            let left = ragged.then(|| remaining(k, limit, here, share.width));
            for lane in &share.lanes {
                let (address, exists) = source.address(k, lane, here, Some(inside));
                let size = match (left.or(*edge), exists) {
                    (Some(left), Some(exists)) => select(k, left, exists),
                    (None, Some(exists)) => select(k, bytes, exists),
                    (Some(left), None) => left,
                    (None, None) => k.mov_u32(&bytes.to_string()),
                };
                op!(
                    k,
                    "cp.async.{cache}.shared.global [{target}+{}], [{address}], {bytes}, {size}",
                    copies * share.step
                );
                copies += 1;
            }
        }
    }
}

/// Returns the bytes of up to `width` floats from `at` on that lie before `end`.
fn remaining(k: &mut Emitter, end: Reg, at: Reg, width: u32) -> Reg {
    let left = k.r();
    op!(k, "sub.u32 {left}, {end}, {at}");
    op!(k, "min.u32 {left}, {left}, {width}");
    op!(k, "shl.b32 {left}, {left}, 2");
    left
}

fn select(k: &mut Emitter, bytes: impl std::fmt::Display, exists: Reg) -> Reg {
    let r = k.r();
    op!(k, "selp.u32 {r}, {bytes}, 0, {exists}");
    r
}

/// Emits the product.
pub(super) fn multiply(
    k: &mut Emitter,
    (tile, second): (Tile, Option<SecondProduct>),
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depths: Depths,
) -> Sums {
    let [left, right] = [a, b].map(|s| (s, s.transform(), s.storage()));
    let (mut slots, stage_bytes) = layout(tile, [left, right]);
    let base = k.shared(STAGES * stage_bytes);
    slots.iter_mut().for_each(|s| s.base += base);
    let mut operands = vec![];
    for ((source, slot), place) in
        [a, b].into_iter().zip(slots).zip([(tile.rows, row), (tile.columns, column)])
    {
        if slot.transform != Transform::One {
            operands.push(Operand::new(k, tile, source, place, slot));
        }
    }
    let position = tile.unit.begin(k, tile, slots, (row, column));
    let sums = Accumulators::zeros(k, tile.unit.dims(), second);

    let at = k.mov_u32(&depths.from.to_string());
    let read_stage = k.mov_u32("0");
    let issue = |k: &mut Emitter, stage: Reg| {
        for operand in &operands {
            operand.copy(k, at, depths.to, stage);
        }
        op!(k, "cp.async.commit_group");
        op!(k, "add.u32 {at}, {at}, {}", tile.depth);
    };
    for stage in 0..STAGES - 1 {
        let stage = k.mov_u32(&(stage * stage_bytes).to_string());
        issue(k, stage);
    }
    // The copies are `STAGES - 1` stages ahead.
    let end = k.r();
    op!(k, "add.u32 {end}, {}, {}", depths.to, (STAGES - 1) * tile.depth);
    // Returns the stage `stages` further on in the ring.
    let advance = |k: &mut Emitter, from: Reg, stages: u32| {
        let (stage, wrapped, wraps) = (k.r(), k.r(), k.p());
        op!(k, "add.u32 {stage}, {from}, {}", stages * stage_bytes);
        op!(k, "sub.u32 {wrapped}, {stage}, {}", STAGES * stage_bytes);
        op!(k, "setp.ge.u32 {wraps}, {stage}, {}", STAGES * stage_bytes);
        op!(k, "selp.u32 {stage}, {wrapped}, {stage}, {wraps}");
        stage
    };
    let top = k.label("STEP");
    k.place(&top);
    op!(k, "cp.async.wait_group {}", STAGES - 2);
    // All threads see the stage that has arrived, and have finished reading the one that is refilled.
    op!(k, "bar.sync 0");
    // Registers are scarce: the stage to fill is computed where it is needed.
    let fill_stage = advance(k, read_stage, STAGES - 1);
    issue(k, fill_stage);
    let products = sums.products(slots.map(|s| s.transform));
    tile.unit.step(k, tile, &position, slots, Some(read_stage), &products);
    let next = advance(k, read_stage, 1);
    op!(k, "mov.u32 {read_stage}, {next}");
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {at}, {end}");
    op!(k, "@{more} bra {top}");
    op!(k, "cp.async.wait_group 0");
    let indices = tile.unit.indices(k, tile, &position, (row, column));
    sums.finish(indices)
}
