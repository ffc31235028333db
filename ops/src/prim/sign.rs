//! Values that are never negative, so that their magnitude needs no node.

use super::Prim;
use crate::graph::{Graph, Value};

/// Length of the longest chain of primitives that is followed.
const DEPTH: usize = 64;

/// Returns whether every element of `v` is known to be ≥ 0 or NaN for any input.
pub fn is_non_negative(graph: &Graph<Prim>, v: Value) -> bool {
    follow(graph, v, DEPTH)
}

fn follow(graph: &Graph<Prim>, v: Value, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    let operands = graph.node_inputs(v.node);
    match graph.op(v.node) {
        Prim::Const(t) => t.dtype().is_float() && t.elems() <= 64 && t.to_f64().iter().all(|x| *x >= 0.0),
        op => op.inner().is_some_and(|op| op.is_non_negative(&Signs { graph, operands: &operands, depth })),
    }
}

/// Facts about the signs of a node's operands.
pub struct Signs<'a> {
    graph: &'a Graph<Prim>,
    operands: &'a [Value],
    depth: usize,
}

impl Signs<'_> {
    /// Returns whether the first operand is never negative.
    pub fn first(&self) -> bool {
        self.operands.first().is_some_and(|v| follow(self.graph, *v, self.depth - 1))
    }

    /// Returns whether no operand is ever negative.
    pub fn all(&self) -> bool {
        self.operands.iter().all(|v| follow(self.graph, *v, self.depth / 2))
    }

    /// Returns whether at least one operand is never negative.
    pub fn any(&self) -> bool {
        self.operands.iter().any(|v| follow(self.graph, *v, self.depth / 2))
    }
}
