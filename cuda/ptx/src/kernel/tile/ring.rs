//! A ring of steps in shared memory: asynchronous copies fill the ones ahead while tensor cores multiply the one that landed.

use dlbc_ops::prim::Transform;

use super::{Depths, Math, Pitch, Second, Share, Source, Sums, Tile, share, tensor};
use crate::emit::{Emitter, Reg};
use crate::op;

/// Steps in the ring: one is multiplied, the others are on their way.
const STAGES: u32 = 3;

/// An operand's place in a step, or nothing for one that is 1 everywhere.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Byte offset in a step.
    pub(super) base: u32,
    pub(super) pitch: Pitch,
    pub(super) part: Transform,
}

/// Words from one to the next, so that neither fragments nor copies of 16 bytes are split: 8 lanes by 4 depths, of pairs in
/// bfloat16, fall into different banks.
fn pitch(source: &dyn Source, tile: Tile, extent: u32, math: Math) -> (Pitch, u32) {
    let [deep, across] = if math == Math::Bf16 { [8, 4] } else { [4, 8] };
    if source.depth_first() {
        ([1, tile.depth + deep], extent * (tile.depth + deep))
    } else {
        ([extent + across, 1], tile.depth * (extent + across))
    }
}

impl Share {
    /// Begins the copies of a step.
    fn copy(&self, k: &mut Emitter, source: &dyn Source, edge: Option<Reg>, at: Reg, limit: Reg, slot: Reg) {
        let to = k.r();
        op!(k, "add.u32 {to}, {}, {slot}", self.first);
        let mut place = 0;
        for depth in &self.depths {
            let (here, inside) = (k.r(), k.p());
            op!(k, "add.u32 {here}, {at}, {depth}");
            op!(k, "setp.lt.u32 {inside}, {here}, {limit}");
            // Of four elements along the depth those before the end exist.
            let left = (source.wide() && source.depth_first()).then(|| {
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
                let (how, width) = if source.wide() { ("cg", 16) } else { ("ca", 4) };
                op!(
                    k,
                    "cp.async.{how}.shared.global [{to}+{}], [{address}], {width}, {bytes}",
                    place * self.step
                );
                place += 1;
            }
        }
    }
}

fn select(k: &mut Emitter, bytes: impl std::fmt::Display, exists: Reg) -> Reg {
    let r = k.r();
    op!(k, "selp.u32 {r}, {bytes}, 0, {exists}");
    r
}

/// Bytes of four lanes side by side that exist, from the first on.
fn edge(k: &mut Emitter, source: &dyn Source, share: &Share) -> Option<Reg> {
    (source.wide() && !source.depth_first()).then(|| {
        let left = k.r();
        op!(k, "sub.u32 {left}, {}, {}", source.lanes(), share.lane);
        op!(k, "min.u32 {left}, {left}, 4");
        op!(k, "shl.b32 {left}, {left}, 2");
        left
    })
}

/// The product on tensor cores.
pub(super) fn multiply(
    k: &mut Emitter,
    tile: Tile,
    (warp, math, second): ([u32; 2], Math, Option<Second>),
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depths: Depths,
) -> Sums {
    let (mut step_bytes, mut slots) = (0, vec![]);
    for (source, extent) in [(a, tile.rows), (b, tile.columns)] {
        let (pitch, words) = pitch(source, tile, extent, math);
        slots.push(Slot { base: step_bytes, pitch, part: source.part() });
        step_bytes += if source.part() == Transform::One { 0 } else { 4 * words };
    }
    let base = k.shared(STAGES * step_bytes);
    // 128 registers a thread: what the sums of the large tile need with what they are made of; more for two sums.
    let threads = if second.is_some_and(|s| s.apart) { 256 } else { 512 };
    k.resident(threads / tile.threads());
    slots.iter_mut().for_each(|s| s.base += base);
    let mut shares = vec![];
    for ((source, slot), (extent, start)) in
        [a, b].into_iter().zip(&slots).zip([(tile.rows, row), (tile.columns, column)])
    {
        if source.part() != Transform::One {
            let width = if source.wide() { 4 } else { 1 };
            let share = share(k, tile, source, (extent, start), width, (slot.base, slot.pitch));
            let edge = edge(k, source, &share);
            shares.push((source, share, edge));
        }
    }
    let (place, values) = tensor::begin(k, tile, warp, math, [slots[0], slots[1]]);
    let apart = second.filter(|s| s.apart).map(|_| tensor::zeros(k, warp));

    let at = k.mov_u32(&depths.from.to_string());
    let (to, from) = (k.mov_u32("0"), k.mov_u32("0"));
    let issue = |k: &mut Emitter| {
        for (source, share, edge) in &shares {
            share.copy(k, *source, *edge, at, depths.to, to);
        }
        op!(k, "cp.async.commit_group");
        op!(k, "add.u32 {at}, {at}, {}", tile.depth);
    };
    for _ in 0..STAGES - 1 {
        issue(k);
        op!(k, "add.u32 {to}, {to}, {step_bytes}");
    }
    // The copies are so many steps ahead.
    let end = k.r();
    op!(k, "add.u32 {end}, {}, {}", depths.to, (STAGES - 1) * tile.depth);
    let turn = |k: &mut Emitter, slot: Reg| {
        let wrap = k.p();
        op!(k, "add.u32 {slot}, {slot}, {step_bytes}");
        op!(k, "setp.ge.u32 {wrap}, {slot}, {}", STAGES * step_bytes);
        op!(k, "selp.u32 {slot}, 0, {slot}, {wrap}");
    };
    let top = k.label("STEP");
    k.place(&top);
    op!(k, "cp.async.wait_group {}", STAGES - 2);
    // What landed is seen by all, and all are done with the step that is filled again.
    op!(k, "bar.sync 0");
    issue(k);
    turn(k, to);
    let mut products = vec![([slots[0].part, slots[1].part], &values)];
    products.extend(second.map(|s| (s.parts, apart.as_ref().unwrap_or(&values))));
    tensor::step(k, tile, (warp, math), &place, [slots[0], slots[1]], from, &products);
    turn(k, from);
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {at}, {end}");
    op!(k, "@{more} bra {top}");
    op!(k, "cp.async.wait_group 0");
    let (rows, columns) = tensor::places(k, warp, &place, row, column);
    Sums { rows, columns, values, second: apart }
}
