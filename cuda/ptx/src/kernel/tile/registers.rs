//! Transfer through registers: threads load the next stage of both operands while they multiply the current one, and then store
//! it to shared memory, as float32.

use dlbc_ops::prim::Transform;

use super::shape::{Tile, Unit};
use super::share::Share;
use super::source::{Depths, Source, load, load_untransformed};
use super::sums::{Accumulators, SecondProduct, Sums};
use super::unit::layout;
use crate::emit::{Emitter, Reg};
use crate::kernel::storage::Storage;
use crate::op;

/// An operand and the thread's share of it.
struct Operand<'a> {
    source: &'a dyn Source,
    share: Share,
    /// The unit transforms the elements; otherwise they are stored transformed.
    untransformed: bool,
}

impl Operand<'_> {
    /// Loads the thread's elements of the stage from depth `at` on, 0 from `limit` on.
    fn load(&self, k: &mut Emitter, at: Reg, limit: Reg) -> Vec<Reg> {
        let mut values = vec![];
        for depth in &self.share.depths {
            let (here, inside) = (k.r(), k.p());
            op!(k, "add.u32 {here}, {at}, {depth}");
            op!(k, "setp.lt.u32 {inside}, {here}, {limit}");
            for lane in &self.share.lanes {
                let load = if self.untransformed { load_untransformed } else { load };
                values.push(load(k, self.source, lane, here, Some(inside)));
            }
        }
        values
    }

    /// Stores the elements to shared memory.
    fn store(&self, k: &mut Emitter, values: &[Reg]) {
        for (i, v) in values.iter().enumerate() {
            op!(k, "st.shared.f32 [{}+{}], {v}", self.share.first, i as u32 * self.share.step);
        }
    }
}

/// Emits the product.
pub(super) fn multiply(
    k: &mut Emitter,
    (tile, second): (Tile, Option<SecondProduct>),
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depths: Depths,
) -> Sums {
    // A scalar thread reads an element more often than it copies one.
    let untransformed = matches!(tile.unit, Unit::Mma(..)) || second.is_some();
    let left_to_unit = |s: &dyn Source| if untransformed { s.transform() } else { Transform::Id };
    let (mut slots, bytes) =
        layout(tile, [(a, left_to_unit(a), Storage::F32), (b, left_to_unit(b), Storage::F32)]);
    let base = k.shared(bytes);
    slots.iter_mut().for_each(|s| s.base += base);
    let mut operands = vec![];
    for ((source, slot), place) in
        [a, b].into_iter().zip(slots).zip([(tile.rows, row), (tile.columns, column)])
    {
        if slot.transform != Transform::One {
            let share = Share::new(k, tile, source, place, 1, slot);
            operands.push(Operand { source, share, untransformed });
        }
    }
    let position = tile.unit.begin(k, tile, slots, (row, column));
    let sums = Accumulators::zeros(k, tile.unit.dims(), second);

    // Each iteration stores the loaded stage, loads the next one and multiplies meanwhile.
    let at = k.mov_u32(&depths.from.to_string());
    let load = |k: &mut Emitter| -> Vec<Vec<Reg>> {
        operands.iter().map(|operand| operand.load(k, at, depths.to)).collect()
    };
    let hold = |k: &mut Emitter, held: &[Vec<Reg>], loaded: &[Vec<Reg>]| {
        for (h, v) in held.iter().flatten().zip(loaded.iter().flatten()) {
            op!(k, "mov.f32 {h}, {v}");
        }
    };
    let loaded = load(k);
    let held: Vec<Vec<Reg>> = loaded.iter().map(|values| values.iter().map(|_| k.f()).collect()).collect();
    hold(k, &held, &loaded);
    let top = k.label("STEP");
    k.place(&top);
    for (operand, values) in operands.iter().zip(&held) {
        operand.store(k, values);
    }
    op!(k, "bar.sync 0");
    op!(k, "add.u32 {at}, {at}, {}", tile.depth);
    let loaded = load(k);
    let products = sums.products(slots.map(|s| s.transform));
    tile.unit.step(k, tile, &position, slots, None, &products);
    hold(k, &held, &loaded);
    op!(k, "bar.sync 0");
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {at}, {}", depths.to);
    op!(k, "@{more} bra {top}");
    let indices = tile.unit.indices(k, tile, &position, (row, column));
    sums.finish(indices)
}
