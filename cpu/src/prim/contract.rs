//! The trait that implements a primitive on the CPU, and the names that every primitive's file imports.

use dlbc_ops::graph::Value;
pub(super) use tract_onnx::tract_core::internal::*;

pub(super) use crate::operands::Operands;
pub(super) use crate::wiring::Wiring;

/// Implementation of a primitive. Both methods are optional; a primitive without either runs on the reference kernel.
pub trait CpuPrimitive {
    /// Adds operators of tract or of this crate for the node; `None` leaves it to a `Kernel`.
    fn wire(&self, _w: &mut Wiring<'_>, _at: &At) -> TractResult<Option<OutletId>> {
        Ok(None)
    }

    /// Computes the result by float32 loops; `None` leaves it to the reference kernel.
    fn fast(&self, _x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        Ok(None)
    }
}

/// The node that is added to the model.
pub struct At {
    /// Name of the node.
    pub name: String,
    /// Result of the node.
    pub v: Value,
    /// Operands of the node.
    pub operands: Vec<Value>,
}

impl At {
    /// Returns operand `i` in the model.
    pub fn input(&self, w: &Wiring<'_>, i: usize) -> OutletId {
        w.values[&self.operands[i]]
    }

    /// Returns all operands in the model.
    pub fn inputs(&self, w: &Wiring<'_>) -> Vec<OutletId> {
        self.operands.iter().map(|o| w.values[o]).collect()
    }

    /// Returns whether all operands are floats.
    pub fn floats(&self, w: &Wiring<'_>) -> bool {
        self.operands.iter().all(|o| w.graph.ty(*o).dtype.is_float())
    }
}
