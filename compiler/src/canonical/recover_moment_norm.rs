//! Recovers layer normalisation by moments, as Flax computes it: `m = Σx/n`, `v = max(0, Σx²/n - m²)`,
//! `y = (x - m) · (1/√(v + ε) · γ) + β`.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Extremum, Function, LayerNorm, Op, ReduceKind};
use dlbc_ops::prim::Unary;
use dlbc_ops::tensor::{Dim, Shape};

use super::pass::Context;
use super::pattern::{
    constant_operand, each, float_constant, joint_origin, replace_by_op, scaled, small_offset, squared,
    strip_reshapes, unary,
};

/// Recovers every such normalisation.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| match unary(graph, id)? {
        Unary::Sqrt => recover(graph, id),
        _ => None,
    })
}

fn recover(graph: &mut Graph<Op>, sqrt: NodeId) -> Option<()> {
    let shifted = graph.node_inputs(sqrt)[0];
    let (variance, epsilon) = small_offset(graph, shifted)?;
    let difference = strip_relu(graph, strip_reshapes(graph, variance));
    let inputs = graph.node_inputs(difference.node);
    let (Op::Sub(_), &[power, square]) = (graph.op(difference.node), inputs.as_slice()) else { return None };
    let m = squared(graph, square)?;
    let (x, axes) = moment(graph, m)?;
    let (second, second_axes) = moment(graph, power)?;
    if squared(graph, second) != Some(x) || axes != second_axes {
        return None;
    }
    let mut mean_shape = graph.ty(x).shape.clone();
    axes.iter().for_each(|a| mean_shape.0[*a] = Dim::known(1));
    let inverse = value(graph.only_consumer(value(sqrt))?);
    if unary(graph, inverse.node) != Some(Unary::Reciprocal) {
        return None;
    }
    let (mut factor, mut gamma) = (inverse, None);
    if let Some((scale, by)) = constant_operand(graph, inverse, |op| matches!(op, Op::Mul(_))) {
        (factor, gamma) = (scale, Some(by));
    }
    let product = graph.only_consumer(factor)?;
    let inputs = graph.node_inputs(product);
    let (Op::Mul(_), &[a, b]) = (graph.op(product), inputs.as_slice()) else { return None };
    let centred = if a == factor { b } else { a };
    if !is_centred(graph, centred, x, m, &mean_shape) {
        return None;
    }
    let pieces = [difference.node, sqrt, inverse.node, factor.node, centred.node, product];
    let mut origin = joint_origin(graph, &pieces);
    let mut operands = vec![x];
    operands.extend(gamma);
    let mut y = value(product);
    let biased = constant_operand(graph, y, |op| matches!(op, Op::Add(_)));
    if let Some((biased, beta)) = biased.filter(|_| gamma.is_some()) {
        origin = origin.join(&graph.node(biased.node).origin);
        operands.push(beta);
        y = biased;
    }
    if graph.ty(y) != graph.ty(x) {
        return None;
    }
    replace_by_op(graph, y, LayerNorm { axes, epsilon: epsilon as f32, centre: true }, origin, &operands);
    Some(())
}

/// The first result of a node.
fn value(node: NodeId) -> Value {
    Value { node, slot: 0 }
}

/// Returns whether `v` is `x - m`, with `m` in the shape `mean_shape` or broadcast to the shape of `x`.
fn is_centred(graph: &Graph<Op>, v: Value, x: Value, m: Value, mean_shape: &Shape) -> bool {
    let inputs = graph.node_inputs(v.node);
    let (Op::Sub(_), &[a, b]) = (graph.op(v.node), inputs.as_slice()) else { return false };
    a == x
        && strip_reshapes(graph, b) == m
        && (graph.ty(b).shape == *mean_shape || graph.ty(b).shape == graph.ty(x).shape)
}

/// Returns `x` if `v` is `max(0, x)`, written as a maximum or as `Relu`; else `v` itself.
fn strip_relu(graph: &Graph<Op>, v: Value) -> Value {
    let inputs = graph.node_inputs(v.node);
    match (graph.op(v.node), inputs.as_slice()) {
        (Op::Extremum(Extremum { max: true }), &[a, b]) => {
            match (float_constant(graph, a), float_constant(graph, b)) {
                (Some(0.0), None) => b,
                (None, Some(0.0)) => a,
                _ => v,
            }
        }
        (Op::Activation(Activation { f: Function::Unary(Unary::Relu) }), &[x]) => x,
        _ => v,
    }
}

/// Returns operand and axes of a mean, written as such or as a sum times the inverse of the number of elements.
fn moment(graph: &Graph<Op>, v: Value) -> Option<(Value, Vec<usize>)> {
    let reduced = |v: Value, kind: ReduceKind| match graph.op(v.node) {
        Op::Reduce(reduce) if reduce.kind == kind => {
            Some((graph.node_inputs(v.node)[0], reduce.axes.clone()))
        }
        _ => None,
    };
    if let Some(mean) = reduced(v, ReduceKind::Mean) {
        return Some(mean);
    }
    let (sum, factor) = scaled(graph, v)?;
    let (x, axes) = reduced(sum, ReduceKind::Sum)?;
    let count: i64 = axes.iter().map(|a| graph.ty(x).dim(*a).as_known()).product::<Option<i64>>()?;
    ((factor * count as f64 - 1.0).abs() < 1e-5).then_some((x, axes))
}
