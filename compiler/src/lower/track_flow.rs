//! Relevance that a rule node received, passed on and absorbed, on one track.

use std::collections::HashSet;

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::Builder;
use dlbc_ops::rule::Flow;
use dlbc_proto::Name;

use crate::error::CompileError;

/// Relevance that flows through a rule node on one track.
pub(super) struct TrackFlow {
    /// Relevance of the node's result, of its shape.
    pub received: Value,
    /// Relevance of each operand that receives some, of its shape, with the operand's index.
    pub passed: Vec<(usize, Value)>,
    /// Scalars whose sum is the relevance that no operand received.
    pub absorbed: Vec<Value>,
}

impl TrackFlow {
    /// Splits the shares of a rule: those of `targets` are passed on, those of other operands are absorbed.
    pub fn new(b: &mut Builder, received: Value, flow: &Flow, targets: &[usize]) -> TrackFlow {
        // A node may have tens of thousands of operands.
        let targets: HashSet<usize> = targets.iter().copied().collect();
        let mut split = TrackFlow { received, passed: vec![], absorbed: flow.absorbed.clone() };
        for (k, share) in flow.operands.iter().enumerate() {
            let Some(share) = *share else { continue };
            if targets.contains(&k) {
                split.passed.push((k, share));
            } else {
                split.absorbed.push(b.total(share));
            }
        }
        split
    }
}

/// Sums scalars; without any, the result is 0 of the element type of `like`.
pub(super) fn sum_scalars(b: &mut Builder, terms: &[Value], like: Value) -> Value {
    let sum = terms.iter().fold(None, |sum, term| Some(sum.map_or(*term, |sum| b.plus(sum, *term))));
    sum.unwrap_or_else(|| b.scalar_like(0.0, like))
}

/// Adds the forward node to an error of one of its primitives.
pub(super) fn node_error(graph: &Graph<Op>, id: NodeId, source: OpError) -> CompileError {
    let node = graph.node(id);
    CompileError::Node { node: Name::new(node.name()), op: Name::new(&node.origin.ops()), source }
}
