//! The relevance that a rule node received, passed on and kept.

use std::collections::HashSet;

use dlbc_ops::OpError;
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::Builder;
use dlbc_ops::rule::Flow;
use dlbc_proto::Name;

use crate::error::CompileError;

/// What a rule node did with the relevance of one track.
pub(super) struct Account {
    /// The relevance that arrived.
    pub received: Value,
    /// What went on to operands, with their place.
    pub passed: Vec<(usize, Value)>,
    /// Scalars of what stayed.
    pub absorbed: Vec<Value>,
}

/// What a rule passed on to its targets; shares of other operands stay.
pub(super) fn account(b: &mut Builder, received: Value, flow: &Flow, targets: &[usize]) -> Account {
    // A node may have tens of thousands of operands.
    let wanted: HashSet<usize> = targets.iter().copied().collect();
    let mut account = Account { received, passed: vec![], absorbed: flow.absorbed.clone() };
    for (k, share) in flow.operands.iter().enumerate() {
        let Some(share) = *share else { continue };
        if wanted.contains(&k) {
            account.passed.push((k, share));
        } else {
            account.absorbed.push(b.total(share));
        }
    }
    account
}

/// The sum of scalars of `like`'s element type.
pub(super) fn total(b: &mut Builder, terms: &[Value], like: Value) -> Value {
    let sum = terms.iter().fold(None, |s, v| Some(s.map_or(*v, |s| b.plus(s, *v))));
    sum.unwrap_or_else(|| b.scalar_like(0.0, like))
}

pub(super) fn located(graph: &Graph<Op>, id: NodeId, source: OpError) -> CompileError {
    let node = graph.node(id);
    CompileError::Node { node: Name::new(node.name()), op: Name::new(&node.origin.ops()), source }
}
