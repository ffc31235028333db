//! The bounds beyond which an activation hides one side of its layer's contributions.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::Unary;
use dlbc_ops::rule::Bounds;

/// The bounds of the activation that alone reads a layer's result; `None` of one that has none. Source: the table of DLBacktrace
/// version 1.
pub(super) fn bounds(graph: &Graph<Op>, layer: NodeId) -> Option<Bounds> {
    let between = |lower, upper| Some(Bounds { lower, upper, swish: None });
    match graph.op(graph.only_consumer(Value { node: layer, slot: 0 })?) {
        Op::Softmax(softmax) if !softmax.log => between(Some(-1.0), Some(2.0)),
        Op::Activation(activation) => match activation.f {
            Function::Unary(Unary::Relu) => between(Some(0.0), None),
            Function::Unary(Unary::Sigmoid) => between(Some(-4.0), Some(4.0)),
            Function::Unary(Unary::Tanh) => between(Some(-2.0), Some(2.0)),
            Function::Silu { alpha } => Some(Bounds { lower: Some(-6.0), upper: None, swish: Some(alpha) }),
            _ => None,
        },
        _ => None,
    }
}
