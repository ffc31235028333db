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
        // Move one axis at a time; `order` is the current order of the operand's axes.
        let mut order: Vec<usize> = (0..perm.len()).collect();
        let mut y = x;
        for (target, axis) in perm.iter().enumerate() {
            let current = order.iter().position(|a| a == axis).unwrap_or(target);
            if current != target {
                let moved = order.remove(current);
                order.insert(target, moved);
                y = self.wire(&format!("{name}.move.{target}"), AxisOp::Move(current, target), &[y])?;
            }
        }
        Ok(y)
    }
}
