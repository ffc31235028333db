//! Patterns and rewrites that several passes share.

use dlbc_ops::graph::{Graph, NodeId, Origin, Value};
use dlbc_ops::op::{Activation, Arithmetic, Function, Op, eval};
use dlbc_ops::prim::{Binary, Unary};
use dlbc_ops::tensor::Tensor;

/// Calls `rewrite` for each node in topological order, except nodes that an earlier call removed; returns whether any call
/// changed the graph.
pub(super) fn each(
    graph: &mut Graph<Op>,
    mut rewrite: impl FnMut(&mut Graph<Op>, NodeId) -> Option<()>,
) -> bool {
    let mut changed = false;
    for id in graph.topological() {
        changed |= graph.contains(id) && rewrite(graph, id).is_some();
    }
    changed
}

/// Returns the function of an activation that is one primitive.
pub(super) fn unary(graph: &Graph<Op>, id: NodeId) -> Option<Unary> {
    match graph.op(id) {
        Op::Activation(Activation { f: Function::Unary(f) }) => Some(*f),
        _ => None,
    }
}

/// Returns the value of a constant of one element, of any element type.
pub(super) fn scalar_constant(graph: &Graph<Op>, v: Value) -> Option<f64> {
    graph.constant(v).filter(|t| t.elems() == 1).map(|t| t.to_f64()[0])
}

/// Returns the value of a float constant of one element.
pub(super) fn float_constant(graph: &Graph<Op>, v: Value) -> Option<f64> {
    graph.constant(v).filter(|t| t.elems() == 1 && t.dtype().is_float()).map(|t| t.to_f64()[0])
}

/// Splits a product or quotient with a float constant of one element into operand and factor.
pub(super) fn scaled(graph: &Graph<Op>, v: Value) -> Option<(Value, f64)> {
    let inputs = graph.node_inputs(v.node);
    match (graph.op(v.node), inputs.as_slice()) {
        (Op::Mul(_), &[a, b]) => match (float_constant(graph, a), float_constant(graph, b)) {
            (_, Some(c)) => Some((a, c)),
            (Some(c), _) => Some((b, c)),
            _ => None,
        },
        (Op::Div(_), &[a, b]) => float_constant(graph, b).map(|c| (a, 1.0 / c)),
        _ => None,
    }
}

/// Splits a sum with a constant in `0..0.01`, such as an epsilon, into operand and constant.
pub(super) fn small_offset(graph: &Graph<Op>, v: Value) -> Option<(Value, f64)> {
    let inputs = graph.node_inputs(v.node);
    let (Op::Add(_), &[a, b]) = (graph.op(v.node), inputs.as_slice()) else { return None };
    match (float_constant(graph, a), float_constant(graph, b)) {
        (None, Some(e)) => Some((a, e)),
        (Some(e), None) => Some((b, e)),
        _ => None,
    }
    .filter(|(_, e)| (0.0..1e-2).contains(e))
}

/// Returns the base of a square, written as a product or as a power.
pub(super) fn squared(graph: &Graph<Op>, v: Value) -> Option<Value> {
    let inputs = graph.node_inputs(v.node);
    let &[a, b] = inputs.as_slice() else { return None };
    match graph.op(v.node) {
        Op::Mul(_) if a == b => Some(a),
        Op::Arithmetic(Arithmetic { f: Binary::Pow }) if scalar_constant(graph, b) == Some(2.0) => Some(a),
        _ => None,
    }
}

/// Returns result and constant of the only reader of `v`, if `matches_op` accepts it and its other operand is a constant.
pub(super) fn constant_operand(
    graph: &Graph<Op>,
    v: Value,
    matches_op: impl Fn(&Op) -> bool,
) -> Option<(Value, Value)> {
    let reader = graph.only_consumer(v)?;
    let inputs = graph.node_inputs(reader);
    let &[a, b] = inputs.as_slice() else { return None };
    let other = if a == v { b } else { a };
    (matches_op(graph.op(reader)) && graph.constant(other).is_some())
        .then_some((Value { node: reader, slot: 0 }, other))
}

/// Returns the value from which `v` comes by reshapes and broadcasts.
pub(super) fn strip_reshapes(graph: &Graph<Op>, mut v: Value) -> Value {
    while let Op::Reshape(_) | Op::Expand(_) = graph.op(v.node) {
        v = graph.node_inputs(v.node)[0];
    }
    v
}

/// Evaluates an operator on constants and returns its first result.
pub(super) fn eval_constant(op: impl Into<Op>, inputs: &[&Tensor]) -> Option<Tensor> {
    let op = op.into();
    let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
    let ty = op.infer(&types).ok()?.into_iter().next()?;
    eval(&op, inputs, &ty).ok()
}

/// Joins the origins of nodes.
pub(super) fn joint_origin<'a>(graph: &Graph<Op>, nodes: impl IntoIterator<Item = &'a NodeId>) -> Origin {
    nodes.into_iter().fold(Origin::default(), |origin, id| origin.join(&graph.node(*id).origin))
}

/// Adds a node whose type is inferred from its operands.
pub(super) fn add(
    graph: &mut Graph<Op>,
    op: impl Into<Op>,
    name: &str,
    origin: Origin,
    operands: &[Value],
) -> Option<Value> {
    let op = op.into();
    let types: Vec<_> = operands.iter().map(|v| graph.ty(*v).clone()).collect();
    let ty = op.infer(&types).ok()?.into_iter().next()?;
    Some(graph.add_value(op, name, ty, origin, operands))
}

/// Adds a constant.
pub(super) fn add_constant(graph: &mut Graph<Op>, tensor: Tensor, name: &str, origin: Origin) -> Value {
    let ty = tensor.ty();
    graph.add_value(Op::Const(tensor), name, ty, origin, &[])
}

/// Replaces `old` by `new`, which takes its name, and removes the node of `old`.
pub(super) fn replace_value(graph: &mut Graph<Op>, old: Value, new: Value) {
    let name = graph.value_name(old).to_string();
    graph.replace(old, new);
    graph.remove(old.node);
    graph.rename(new, &name);
}

/// Replaces `old` by the result of a new node, which takes its name and type.
pub(super) fn replace_by_op(
    graph: &mut Graph<Op>,
    old: Value,
    op: impl Into<Op>,
    origin: Origin,
    operands: &[Value],
) {
    let (name, ty) = (graph.value_name(old).to_string(), graph.ty(old).clone());
    let new = graph.add_value(op.into(), &name, ty, origin, operands);
    replace_value(graph, old, new);
}

/// Replaces the result of the last node in `pieces` by an activation of `x`, with the origin of all pieces.
pub(super) fn replace_by_activation(
    graph: &mut Graph<Op>,
    x: Value,
    op: Activation,
    pieces: &[NodeId],
) -> Option<()> {
    let result = Value { node: *pieces.last()?, slot: 0 };
    if graph.ty(result) != graph.ty(x) {
        return None;
    }
    let origin = joint_origin(graph, pieces);
    replace_by_op(graph, result, op, origin, &[x]);
    for id in pieces.iter().rev().skip(1) {
        graph.remove(*id);
    }
    Some(())
}
