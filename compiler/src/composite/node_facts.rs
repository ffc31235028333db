//! Facts about a node that decide how its rule applies, such as gates and saturation bounds.

use dlbc_ops::graph::{Graph, NodeId};
use dlbc_ops::op::Op;
use dlbc_ops::rule::{Bounds, NodeFacts};

use super::gates::is_gate;
use super::saturation;

/// A node of a model together with its live operands.
pub(super) struct GraphNodeFacts<'a> {
    pub graph: &'a Graph<Op>,
    pub node: NodeId,
    /// For each operand, true if it carries relevance.
    pub live: &'a [bool],
}

impl NodeFacts for GraphNodeFacts<'_> {
    fn live(&self) -> &[bool] {
        self.live
    }

    fn is_gate(&self, k: usize) -> bool {
        self.graph.node_inputs(self.node).get(k).is_some_and(|v| is_gate(self.graph, *v))
    }

    fn bounds(&self) -> Option<Bounds> {
        saturation::bounds(self.graph, self.node)
    }

    fn convolves(&self) -> bool {
        matches!(self.graph.op(self.node), Op::Conv(_) | Op::ConvTranspose(_))
    }
}
