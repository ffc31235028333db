//! Bounds beyond which an activation is saturated and hides one side of its layer's contributions.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::Unary;
use dlbc_ops::rule::Bounds;

/// Returns the saturation bounds of the activation that is the only reader of a layer's result; `None` for other readers and
/// activations that do not saturate. Source: the table of DLBacktrace version 1.
pub(super) fn bounds(graph: &Graph<Op>, layer: NodeId) -> Option<Bounds> {
    let bounds = |lower, upper| Some(Bounds { lower, upper, swish: None });
    match graph.op(graph.only_consumer(Value { node: layer, slot: 0 })?) {
        Op::Softmax(softmax) if !softmax.log => bounds(Some(-1.0), Some(2.0)),
        Op::Activation(activation) => match activation.f {
            Function::Unary(Unary::Relu) => bounds(Some(0.0), None),
            Function::Unary(Unary::Sigmoid) => bounds(Some(-4.0), Some(4.0)),
            Function::Unary(Unary::Tanh) => bounds(Some(-2.0), Some(2.0)),
            Function::Silu { alpha } => Some(Bounds { lower: Some(-6.0), upper: None, swish: Some(alpha) }),
            _ => None,
        },
        _ => None,
    }
}
