//! Layer normalisation by moments, as Flax computes it: `m = Σx/n`, `v = max(0, Σx²/n - m²)`,
//! `y = (x - m) · (1/√(v + ε) · γ) + β`.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Extremum, Function, LayerNorm, Op, Reduce, ReduceKind};
use dlbc_ops::prim::Unary;
use dlbc_ops::tensor::{Dim, Shape};

use super::pass::Context;
use super::pattern::{
    constant_operand, each, offset, origin, plain, replace, scaled, single, squared, unary,
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
    let (variance, epsilon) = offset(graph, shifted)?;
    let difference = positive(graph, plain(graph, variance));
    let inputs = graph.node_inputs(difference.node);
    let (Op::Sub(_), &[power, square]) = (graph.op(difference.node), inputs.as_slice()) else { return None };
    let m = squared(graph, square)?;
    let (x, axes) = moment(graph, m)?;
    let (of, over) = moment(graph, power)?;
    if squared(graph, of) != Some(x) || axes != over {
        return None;
    }
    let mut kept = graph.ty(x).shape.clone();
    axes.iter().for_each(|a| kept.0[*a] = Dim::known(1));
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
    if !is_centred(graph, centred, x, m, &kept) {
        return None;
    }
    let parts = [difference.node, sqrt, inverse.node, factor.node, centred.node, product];
    let mut origin = origin(graph, &parts);
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
    replace(graph, y, LayerNorm { axes, epsilon: epsilon as f32, centre: true }, origin, &operands);
    Some(())
}

fn value(node: NodeId) -> Value {
    Value { node, slot: 0 }
}

/// `x` of `x - m`, `m` spread over the axes that it lost.
fn is_centred(graph: &Graph<Op>, v: Value, x: Value, m: Value, kept: &Shape) -> bool {
    let inputs = graph.node_inputs(v.node);
    let (Op::Sub(_), &[a, b]) = (graph.op(v.node), inputs.as_slice()) else { return false };
    a == x && plain(graph, b) == m && (graph.ty(b).shape == *kept || graph.ty(b).shape == graph.ty(x).shape)
}

/// `x` of `max(0, x)`, however it is written; else the value itself.
fn positive(graph: &Graph<Op>, v: Value) -> Value {
    let inputs = graph.node_inputs(v.node);
    match (graph.op(v.node), inputs.as_slice()) {
        (Op::Extremum(Extremum { max: true }), &[a, b]) => match (single(graph, a), single(graph, b)) {
            (Some(0.0), None) => b,
            (None, Some(0.0)) => a,
            _ => v,
        },
        (Op::Activation(Activation { f: Function::Unary(Unary::Relu) }), &[x]) => x,
        _ => v,
    }
}

/// What a mean is of, and over which axes: a mean, or a sum times the inverse of their size.
fn moment(graph: &Graph<Op>, v: Value) -> Option<(Value, Vec<usize>)> {
    let reduced = |v: Value, kind: ReduceKind| match graph.op(v.node) {
        Op::Reduce(Reduce { kind: found, axes, .. }) if *found == kind => {
            Some((graph.node_inputs(v.node)[0], axes.clone()))
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
