//! Gathering by index and its adjoint.

use dlbc_ops::prim::{Gather, ScatterAdd};
use dlbc_ops::tensor::DType;

use super::contract::*;
use crate::indexing::{IndexOp, Indexing};
use crate::lookup::Lookup;

impl CpuPrimitive for Gather {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let table = w.constant(at.operands[0]).filter(|_| self.axis == 0);
        if let Some(lookup) = table.and_then(|t| Lookup::new(title(w, at), &t)) {
            return w.wire(&at.name, lookup, &[at.input(w, 1)]).map(Some);
        }
        if !moves_floats(w, at) {
            return Ok(None);
        }
        let dim = w.dims(at.operands[0])[self.axis];
        let dims = w.dims(at.v);
        let op = Indexing { title: title(w, at), op: IndexOp::Gather, axis: self.axis, dim, dims };
        w.wire(&at.name, op, &at.inputs(w)).map(Some)
    }
}

impl CpuPrimitive for ScatterAdd {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        if !moves_floats(w, at) {
            return Ok(None);
        }
        let dims = w.dims(at.v);
        let dim = dims[self.axis];
        let op = Indexing { title: title(w, at), op: IndexOp::ScatterAdd, axis: self.axis, dim, dims };
        w.wire(&at.name, op, &at.inputs(w)).map(Some)
    }
}

/// Returns the name of the node in the model, for messages.
fn title(w: &Wiring<'_>, at: &At) -> String {
    let origin = w.graph.node(at.v.node).origin.nodes.first();
    origin.map_or(&at.name, |(node, _)| node).clone()
}

/// Returns whether the elements that move are float32.
fn moves_floats(w: &Wiring<'_>, at: &At) -> bool {
    at.operands.first().is_some_and(|v| w.graph.ty(*v).dtype == DType::F32)
}
