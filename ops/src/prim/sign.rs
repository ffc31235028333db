//! Values that cannot be negative: their magnitude needs no node.

use super::Prim;
use crate::graph::{Graph, Value};

/// Longest chain of shape-only and monotone primitives that is followed.
const DEPTH: usize = 64;

/// Whether every element of `v` is known to be ≥ 0 (or NaN) whatever the inputs.
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

/// The signs of a node's operands.
pub struct Signs<'a> {
    graph: &'a Graph<Prim>,
    operands: &'a [Value],
    depth: usize,
}

impl Signs<'_> {
    /// Whether the first operand cannot be negative.
    pub fn first(&self) -> bool {
        self.operands.first().is_some_and(|v| follow(self.graph, *v, self.depth - 1))
    }

    /// Whether no operand can be negative.
    pub fn all(&self) -> bool {
        self.operands.iter().all(|v| follow(self.graph, *v, self.depth / 2))
    }

    /// Whether some operand cannot be negative.
    pub fn any(&self) -> bool {
        self.operands.iter().any(|v| follow(self.graph, *v, self.depth / 2))
    }
}
