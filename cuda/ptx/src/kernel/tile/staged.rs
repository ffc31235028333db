//! Software pipelining for scalar threads: they load the next stage of both operands into registers while they multiply the
//! current one, and then store it to shared memory.

use super::{Depths, Share, Source, Sums, Tile, load, scalar, share};
use crate::emit::{Emitter, Reg};
use crate::op;

impl Share {
    /// Loads the thread's elements of the stage from depth `at` on, 0 from `limit` on.
    fn load(&self, k: &mut Emitter, source: &dyn Source, at: Reg, limit: Reg) -> Vec<Reg> {
        let mut values = vec![];
        for depth in &self.depths {
            let (here, inside) = (k.r(), k.p());
            op!(k, "add.u32 {here}, {at}, {depth}");
            op!(k, "setp.lt.u32 {inside}, {here}, {limit}");
            for lane in &self.lanes {
                values.push(load(k, source, lane, here, Some(inside)));
            }
        }
        values
    }

    /// Stores the elements to shared memory.
    fn store(&self, k: &mut Emitter, values: &[Reg]) {
        for (i, v) in values.iter().enumerate() {
            op!(k, "st.shared.f32 [{}+{}], {v}", self.first, i as u32 * self.step);
        }
    }
}

/// Emits the product by threads of `side` by `side` elements.
pub(super) fn multiply(
    k: &mut Emitter,
    tile: Tile,
    side: u32,
    (a, b): (&dyn Source, &dyn Source),
    (row, column): (Reg, Reg),
    depths: Depths,
) -> Sums {
    let a_base = k.shared(tile.depth * scalar::pitch(tile.rows) * 4);
    let b_base = k.shared(tile.depth * scalar::pitch(tile.columns) * 4);
    let a_share = share(k, tile, a, (tile.rows, row), 1, (a_base, [scalar::pitch(tile.rows), 1]));
    let b_share = share(k, tile, b, (tile.columns, column), 1, (b_base, [scalar::pitch(tile.columns), 1]));
    let (position, values) = scalar::begin(k, tile, side);

    // Each iteration stores the loaded stage, loads the next one and multiplies meanwhile.
    let at = k.mov_u32(&depths.from.to_string());
    let mut a_next = a_share.load(k, a, at, depths.to);
    let mut b_next = b_share.load(k, b, at, depths.to);
    let held: Vec<Reg> = a_next.iter().chain(&b_next).map(|_| k.f()).collect();
    for (h, v) in held.iter().zip(a_next.iter().chain(&b_next)) {
        op!(k, "mov.f32 {h}, {v}");
    }
    let (a_held, b_held) = held.split_at(a_next.len());
    let top = k.label("STEP");
    k.place(&top);
    a_share.store(k, a_held);
    b_share.store(k, b_held);
    op!(k, "bar.sync 0");
    op!(k, "add.u32 {at}, {at}, {}", tile.depth);
    a_next = a_share.load(k, a, at, depths.to);
    b_next = b_share.load(k, b, at, depths.to);
    scalar::step(k, tile, side, &position, [a_base, b_base], &values);
    for (h, v) in held.iter().zip(a_next.iter().chain(&b_next)) {
        op!(k, "mov.f32 {h}, {v}");
    }
    op!(k, "bar.sync 0");
    let more = k.p();
    op!(k, "setp.lt.u32 {more}, {at}, {}", depths.to);
    op!(k, "@{more} bra {top}");
    let rows = scalar::indices(k, row, position.rows, tile.rows, side);
    let columns = scalar::indices(k, column, position.columns, tile.columns, side);
    Sums { rows, columns, values, second: None }
}
