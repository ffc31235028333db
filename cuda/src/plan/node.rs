//! Lowering of one node.

use dlbc_backend::BackendError;
use dlbc_ops::graph::{NodeId, Value};
use dlbc_ops::prim::Prim;

use super::prim::{At, implementation};
use super::{Made, Planner, Scope, wrong};

/// Elements of a tensor: indices are 32 bits wide.
const MAX_ELEMS: u64 = i32::MAX as u64;

impl Planner {
    /// Lowers a node whose operands are there.
    pub(super) fn node(&mut self, scope: &mut Scope, id: NodeId) -> Result<Made, BackendError> {
        let graph = scope.graph;
        let ty = graph.node(id).types[0].clone();
        let dims = ty.shape.as_known().ok_or_else(|| wrong(scope, id, "a dimension is not known"))?;
        let elems = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
        if elems.is_none_or(|n| n > MAX_ELEMS) {
            let node = graph.node(id).name().to_string();
            let bytes = ty.bytes().unwrap_or(u64::MAX);
            return Err(BackendError::Limit { node, bytes, limit: 4 * MAX_ELEMS });
        }
        let inputs = graph.node_inputs(id);
        if scope.scores.contains(&id) {
            return Ok(Made::Scores);
        }
        if inputs.iter().any(|v| scope.scores.contains(&v.node)) {
            return self.of_scores(scope, id, &dims).map(Made::View);
        }
        match (graph.op(id), implementation(graph.op(id))) {
            (_, Some(prim)) => prim.plan(self, &mut At { scope, id, inputs, dims }),
            (Prim::Const(t), None) => Ok(Made::View(self.constant(t))),
            // Inputs of a graph are there before its nodes.
            (_, None) => Ok(Made::View(self.view(scope, Value { node: id, slot: 0 }))),
        }
    }
}
