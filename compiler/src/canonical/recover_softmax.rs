//! Recovers softmax from its pieces `e / Σe` with `e = exp(x - max x)` or `e = exp(x)`.
//!
//! A softmax of `x - max x` becomes the softmax of `x`, which is equal, because a rule of sums would take `max x` for a
//! contribution.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Extremum, Op, Reduce, ReduceKind, Softmax};
use dlbc_ops::prim::Unary;

use super::pass::Context;
use super::pattern::{each, joint_origin, replace_by_op, scalar_constant, strip_reshapes, unary};

/// Recovers every softmax.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| match graph.op(id) {
        Op::Div(_) => recover(graph, id),
        Op::Softmax(Softmax { axis, .. }) => remove_shift(graph, id, *axis),
        _ => None,
    })
}

fn recover(graph: &mut Graph<Op>, div: NodeId) -> Option<()> {
    let &[e, sum] = graph.node_inputs(div).as_slice() else { return None };
    if unary(graph, e.node) != Some(Unary::Exp) {
        return None;
    }
    let (operand, axis) = reduction_operand(graph, sum, ReduceKind::Sum)?;
    if operand != e || !broadcasts_along(graph, sum, e, axis) {
        return None;
    }
    let argument = graph.node_inputs(e.node)[0];
    let inputs = graph.node_inputs(argument.node);
    let x = match (graph.op(argument.node), inputs.as_slice()) {
        (Op::Sub(_), &[x, m]) if is_maximum(graph, m, x, axis) => x,
        _ => argument,
    };
    let y = Value { node: div, slot: 0 };
    if graph.ty(y) != graph.ty(x) {
        return None;
    }
    let origin = joint_origin(graph, &[e.node, sum.node, div]);
    replace_by_op(graph, y, Softmax { axis, log: false }, origin, &[x]);
    Some(())
}

/// Removes the subtraction of the maximum before a softmax.
fn remove_shift(graph: &mut Graph<Op>, softmax: NodeId, axis: usize) -> Option<()> {
    let argument = graph.node_inputs(softmax)[0];
    let inputs = graph.node_inputs(argument.node);
    let (Op::Sub(_), &[x, m]) = (graph.op(argument.node), inputs.as_slice()) else { return None };
    if !is_maximum(graph, m, x, axis) || graph.ty(x) != graph.ty(argument) {
        return None;
    }
    let origin = joint_origin(graph, &[argument.node, softmax]);
    graph.set_inputs(softmax, &[x]);
    graph.node_mut(softmax).origin = origin;
    Some(())
}

/// Returns operand and axis of a reduction over one axis.
fn reduction_operand(graph: &Graph<Op>, v: Value, kind: ReduceKind) -> Option<(Value, usize)> {
    match graph.op(strip_reshapes(graph, v).node) {
        Op::Reduce(Reduce { kind: reduction, axes, .. }) if *reduction == kind && axes.len() == 1 => {
            Some((graph.node_inputs(strip_reshapes(graph, v).node)[0], axes[0]))
        }
        _ => None,
    }
}

/// Returns whether `v` has the shape of `x`, or that shape with length 1 along the axis.
fn broadcasts_along(graph: &Graph<Op>, v: Value, x: Value, axis: usize) -> bool {
    let (shape, mut full) = (&graph.ty(v).shape, graph.ty(x).shape.clone());
    let is_full = *shape == full;
    full.0[axis] = dlbc_ops::tensor::Dim::known(1);
    is_full || *shape == full
}

/// Returns whether `m` is the maximum of `x` along an axis, possibly combined with -∞.
fn is_maximum(graph: &Graph<Op>, m: Value, x: Value, axis: usize) -> bool {
    let inner = strip_reshapes(graph, m);
    let inputs = graph.node_inputs(inner.node);
    let maximum = match (graph.op(inner.node), inputs.as_slice()) {
        (Op::Extremum(Extremum { max: true }), &[a, b]) => {
            match (scalar_constant(graph, a), scalar_constant(graph, b)) {
                (Some(f64::NEG_INFINITY), None) => b,
                (None, Some(f64::NEG_INFINITY)) => a,
                _ => inner,
            }
        }
        _ => inner,
    };
    broadcasts_along(graph, m, x, axis)
        && reduction_operand(graph, maximum, ReduceKind::Max) == Some((x, axis))
}
