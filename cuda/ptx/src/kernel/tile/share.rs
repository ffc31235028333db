//! Division of the transfer of a tile among the threads of a block.

use super::shape::Tile;
use super::slot::Slot;
use super::source::Source;
use crate::emit::{Emitter, Reg};
use crate::op;

/// A thread's share in the transfer of one operand's tile to shared memory. Neighbouring threads take adjacent elements.
pub(super) struct Share {
    /// Lane registers (see [`Source::lane`]) of each lane that the thread takes.
    pub(super) lanes: Vec<Vec<Reg>>,
    /// Depths within a stage. The thread takes every depth of every lane; one of both lists has a single entry.
    pub(super) depths: Vec<Reg>,
    /// Byte address of the first element in shared memory.
    pub(super) first: Reg,
    /// Distance to each next element, in bytes.
    pub(super) step: u32,
    /// Global index of the first lane.
    pub(super) lane: Reg,
    /// Adjacent elements that are taken at a time.
    pub(super) width: u32,
}

impl Share {
    /// Assigns the thread its share of an operand, whose tile has `extent` lanes from `start` on and lies in `slot`.
    pub(super) fn new(
        k: &mut Emitter,
        tile: Tile,
        source: &dyn Source,
        (extent, start): (u32, Reg),
        width: u32,
        slot: Slot,
    ) -> Share {
        let tid = k.mov_u32("%tid.x");
        let fast = if source.depth_first() { tile.depth } else { extent } / width;
        let count = extent * tile.depth / width / tile.threads();
        let (low, high, first) = (k.r(), k.r(), k.r());
        op!(k, "and.b32 {low}, {tid}, {}", fast - 1);
        op!(k, "shr.u32 {high}, {tid}, {}", fast.trailing_zeros());
        if width > 1 {
            op!(k, "shl.b32 {low}, {low}, {}", width.trailing_zeros());
        }
        let lane_step = tile.threads() / fast;
        let (depth, lane) = if source.depth_first() { (low, high) } else { (high, low) };
        let smem = k.mov_u32("smem");
        op!(k, "mad.lo.u32 {first}, {depth}, {}, {smem}", slot.stride(0));
        op!(k, "mad.lo.u32 {first}, {lane}, {}, {first}", slot.stride(1));
        if slot.base > 0 {
            op!(k, "add.u32 {first}, {first}, {}", slot.base);
        }
        let global = k.r();
        op!(k, "add.u32 {global}, {start}, {lane}");
        let shifted = |k: &mut Emitter, from: Reg, i: u32| {
            if i == 0 {
                return from;
            }
            let r = k.r();
            op!(k, "add.u32 {r}, {from}, {}", i * lane_step);
            r
        };
        let (lanes, depths, axis) = if source.depth_first() {
            let lanes = (0..count)
                .map(|i| {
                    let lane = shifted(k, global, i);
                    source.lane(k, lane)
                })
                .collect();
            (lanes, vec![depth], 1)
        } else {
            let depths = (0..count).map(|i| shifted(k, depth, i)).collect();
            (vec![source.lane(k, global)], depths, 0)
        };
        Share { lanes, depths, first, step: lane_step * slot.stride(axis), lane: global, width }
    }
}
