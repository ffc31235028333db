//! The contract that primitives fulfil on the CPU, and the names with which their files begin.

use dlbc_ops::graph::Value;
pub(super) use tract_onnx::tract_core::internal::*;

pub(super) use crate::operands::Operands;
pub(super) use crate::wiring::Wiring;

/// A primitive in the engine. All of it is optional: a primitive of which nothing is said here runs on the reference kernel.
pub trait CpuPrimitive {
    /// Adds the node as operators of the engine or of this crate; `None` leaves it to a kernel.
    fn wire(&self, _w: &mut Wiring<'_>, _at: &At) -> TractResult<Option<OutletId>> {
        Ok(None)
    }

    /// The result by loops in float32; `None` leaves it to the reference kernel.
    fn fast(&self, _x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        Ok(None)
    }
}

/// The node being wired.
pub struct At {
    /// Its name.
    pub name: String,
    /// Its result.
    pub v: Value,
    /// Its operands.
    pub operands: Vec<Value>,
}

impl At {
    /// Operand `i` in the model.
    pub fn input(&self, w: &Wiring<'_>, i: usize) -> OutletId {
        w.values[&self.operands[i]]
    }

    /// All operands in the model.
    pub fn inputs(&self, w: &Wiring<'_>) -> Vec<OutletId> {
        self.operands.iter().map(|o| w.values[o]).collect()
    }

    /// Whether all operands are floats.
    pub fn floats(&self, w: &Wiring<'_>) -> bool {
        self.operands.iter().all(|o| w.graph.ty(*o).dtype.is_float())
    }
}
