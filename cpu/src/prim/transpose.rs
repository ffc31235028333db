//! Permutation of axes.

use dlbc_ops::prim::Transpose;

use super::contract::*;

impl CpuPrimitive for Transpose {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        w.transpose(&at.name, at.input(w, 0), &self.perm).map(Some)
    }
}

impl Wiring<'_> {
    fn transpose(&mut self, name: &str, x: OutletId, perm: &[usize]) -> TractResult<OutletId> {
        // Axis by axis: `order` is where each axis of the result stands now.
        let mut order: Vec<usize> = (0..perm.len()).collect();
        let mut y = x;
        for (to, axis) in perm.iter().enumerate() {
            let from = order.iter().position(|a| a == axis).unwrap_or(to);
            if from != to {
                let moved = order.remove(from);
                order.insert(to, moved);
                y = self.wire(&format!("{name}.move.{to}"), AxisOp::Move(from, to), &[y])?;
            }
        }
        Ok(y)
    }
}
