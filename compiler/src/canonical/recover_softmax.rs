//! A softmax in pieces becomes one: `e / Σe` with `e = exp(x - max x)`, or `exp(x)`. One of `x - max x` becomes that of `x`,
//! which is the same: the difference is no sum of contributions.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Extremum, Op, Reduce, ReduceKind, Softmax};
use dlbc_ops::prim::Unary;

use super::pass::Context;
use super::pattern::{each, number, origin, plain, replace, unary};

/// Recovers every softmax.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| match graph.op(id) {
        Op::Div(_) => recover(graph, id),
        Op::Softmax(Softmax { axis, .. }) => unshifted(graph, id, *axis),
        _ => None,
    })
}

fn recover(graph: &mut Graph<Op>, div: NodeId) -> Option<()> {
    let &[e, sum] = graph.node_inputs(div).as_slice() else { return None };
    if unary(graph, e.node) != Some(Unary::Exp) {
        return None;
    }
    let (of, axis) = reduced(graph, sum, ReduceKind::Sum)?;
    if of != e || !spread(graph, sum, e, axis) {
        return None;
    }
    let argument = graph.node_inputs(e.node)[0];
    let inputs = graph.node_inputs(argument.node);
    let x = match (graph.op(argument.node), inputs.as_slice()) {
        (Op::Sub(_), &[x, m]) if is_greatest(graph, m, x, axis) => x,
        _ => argument,
    };
    let y = Value { node: div, slot: 0 };
    if graph.ty(y) != graph.ty(x) {
        return None;
    }
    let origin = origin(graph, &[e.node, sum.node, div]);
    replace(graph, y, Softmax { axis, log: false }, origin, &[x]);
    Some(())
}

/// Takes the greatest element's subtraction from before a softmax.
fn unshifted(graph: &mut Graph<Op>, softmax: NodeId, axis: usize) -> Option<()> {
    let argument = graph.node_inputs(softmax)[0];
    let inputs = graph.node_inputs(argument.node);
    let (Op::Sub(_), &[x, m]) = (graph.op(argument.node), inputs.as_slice()) else { return None };
    if !is_greatest(graph, m, x, axis) || graph.ty(x) != graph.ty(argument) {
        return None;
    }
    let origin = origin(graph, &[argument.node, softmax]);
    graph.set_inputs(softmax, &[x]);
    graph.node_mut(softmax).origin = origin;
    Some(())
}

/// What a reduction over one axis is of.
fn reduced(graph: &Graph<Op>, v: Value, kind: ReduceKind) -> Option<(Value, usize)> {
    match graph.op(plain(graph, v).node) {
        Op::Reduce(Reduce { kind: found, axes, .. }) if *found == kind && axes.len() == 1 => {
            Some((graph.node_inputs(plain(graph, v).node)[0], axes[0]))
        }
        _ => None,
    }
}

/// Whether `v` lies beside `x` with the axis reduced to 1, or repeated along it.
fn spread(graph: &Graph<Op>, v: Value, x: Value, axis: usize) -> bool {
    let (found, mut kept) = (&graph.ty(v).shape, graph.ty(x).shape.clone());
    let repeated = *found == kept;
    kept.0[axis] = dlbc_ops::tensor::Dim::known(1);
    repeated || *found == kept
}

/// Whether `m` is the greatest of `x` along an axis, bounded below by nothing that matters.
fn is_greatest(graph: &Graph<Op>, m: Value, x: Value, axis: usize) -> bool {
    let inner = plain(graph, m);
    let inputs = graph.node_inputs(inner.node);
    let greatest = match (graph.op(inner.node), inputs.as_slice()) {
        (Op::Extremum(Extremum { max: true }), &[a, b]) => match (number(graph, a), number(graph, b)) {
            (Some(f64::NEG_INFINITY), None) => b,
            (None, Some(f64::NEG_INFINITY)) => a,
            _ => inner,
        },
        _ => inner,
    };
    spread(graph, m, x, axis) && reduced(graph, greatest, ReduceKind::Max) == Some((x, axis))
}
