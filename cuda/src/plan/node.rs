//! Lowering of one node.

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::Prim;

use super::prim::{NodeContext, implementation};
use super::{LoweredValue, Planner, Scope, node_error};

/// Maximum number of elements of a tensor, since indices have 32 bits.
const MAX_ELEMS: u64 = i32::MAX as u64;

impl Planner {
    /// Lowers a node whose operands are lowered.
    pub(super) fn node(&mut self, scope: &mut Scope, id: NodeId) -> Result<LoweredValue, BackendError> {
        let graph = scope.graph;
        let ty = graph.node(id).types[0].clone();
        let dims = ty.shape.as_known().ok_or_else(|| node_error(scope, id, "expected known dimensions"))?;
        let elems = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
        if elems.is_none_or(|n| n > MAX_ELEMS) {
            let node = graph.node(id).name().to_string();
            let bytes = ty.bytes().unwrap_or(u64::MAX);
            return Err(BackendError::Limit { node, bytes, limit: 4 * MAX_ELEMS });
        }
        let inputs = graph.node_inputs(id);
        if scope.scores.contains(&id) {
            return Ok(LoweredValue::Scores);
        }
        if inputs.iter().any(|v| scope.scores.contains(&v.node)) {
            return self.lower_score_reader(scope, id, &dims).map(LoweredValue::View);
        }
        match (graph.op(id), implementation(graph.op(id))) {
            (_, Some(prim)) => prim.plan(self, &mut NodeContext { scope, id, inputs, dims }),
            (Prim::Const(t), None) => Ok(LoweredValue::View(self.constant(t))),
            // Inputs of a graph have views before its nodes are lowered.
            (_, None) => Ok(LoweredValue::View(self.view(scope, Value { node: id, slot: 0 }))),
        }
    }
}
