//! Recovers layer and root-mean-square normalisation from their pieces.
//!
//! Layer normalisation is `ReduceMean → Sub → (Pow 2 | Mul) → ReduceMean → Add ε → Sqrt → (Div | Reciprocal, Mul)`,
//! optionally followed by `Mul γ → Add β`. Root-mean-square normalisation has no mean and no `Sub`. The rules of the pieces do
//! not add up to the rule of a normalisation, so this pass changes relevance.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{LayerNorm, Op, Reduce, ReduceKind};
use dlbc_ops::prim::Unary;

use super::pass::Context;
use super::pattern::{constant_operand, each, replace_by_op, scalar_constant, small_offset, squared, unary};

/// Recovers every normalisation.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| match unary(graph, id)? {
        Unary::Sqrt => recover(graph, id),
        _ => None,
    })
}

fn recover(graph: &mut Graph<Op>, sqrt: NodeId) -> Option<()> {
    let shifted = graph.node_inputs(sqrt)[0];
    let (variance, epsilon) = small_offset(graph, shifted)?;
    let (square, axes) = mean(graph, variance)?;
    let centred = squared(graph, square)?;
    let (x, centre) = match subtracted_mean(graph, centred, &axes) {
        Some(x) => (x, true),
        None => (centred, false),
    };
    let std = Value { node: sqrt, slot: 0 };
    let mut y =
        quotients(graph, std).find_map(|(numerator, y)| is_same(graph, numerator, centred).then_some(y))?;
    let mut origin = graph.node(sqrt).origin.join(&graph.node(y.node).origin);
    for v in [shifted, variance, square, centred] {
        if v != x {
            origin = origin.join(&graph.node(v.node).origin);
        }
    }
    let ty = graph.ty(x).clone();
    let mut operands = vec![x];
    let scaled = constant_operand(graph, y, |op| matches!(op, Op::Mul(_)));
    if let Some((scaled, gamma)) = scaled.filter(|(v, _)| graph.ty(*v).shape == ty.shape) {
        origin = origin.join(&graph.node(scaled.node).origin);
        operands.push(gamma);
        y = scaled;
        let shifted = constant_operand(graph, y, |op| matches!(op, Op::Add(_)));
        if let Some((shifted, beta)) = shifted.filter(|(v, _)| graph.ty(*v).shape == ty.shape) {
            origin = origin.join(&graph.node(shifted.node).origin);
            operands.push(beta);
            y = shifted;
        }
    }
    replace_by_op(graph, y, LayerNorm { axes, epsilon: epsilon as f32, centre }, origin, &operands);
    Some(())
}

/// Returns operand and axes of a mean that keeps its axes with length 1.
fn mean(graph: &Graph<Op>, v: Value) -> Option<(Value, Vec<usize>)> {
    match graph.op(v.node) {
        Op::Reduce(Reduce { kind: ReduceKind::Mean, axes, keep: true }) => {
            Some((graph.node_inputs(v.node)[0], axes.clone()))
        }
        _ => None,
    }
}

/// Returns `x` if `v` is `x - mean(x)` over these axes.
fn subtracted_mean(graph: &Graph<Op>, v: Value, axes: &[usize]) -> Option<Value> {
    let inputs = graph.node_inputs(v.node);
    let (Op::Sub(_), &[x, m]) = (graph.op(v.node), inputs.as_slice()) else { return None };
    mean(graph, m).filter(|(operand, mean_axes)| *operand == x && mean_axes == axes).map(|_| x)
}

/// Returns numerator and quotient of each division by `std`, written as `Div` or as `Mul` by the reciprocal.
fn quotients(graph: &Graph<Op>, std: Value) -> impl Iterator<Item = (Value, Value)> {
    let mut quotients = vec![];
    for (reader, slot) in graph.consumers(std) {
        let y = Value { node: reader, slot: 0 };
        let inputs = graph.node_inputs(reader);
        match (graph.op(reader), slot) {
            (Op::Div(_), 1) => quotients.push((inputs[0], y)),
            // The reciprocal of the deviation; the quotient `1 / std` follows below.
            _ if unary(graph, reader) == Some(Unary::Reciprocal) => quotients.extend(products(graph, y)),
            _ => {}
        }
        if matches!(graph.op(reader), Op::Div(_))
            && slot == 1
            && scalar_constant(graph, inputs[0]) == Some(1.0)
        {
            quotients.extend(products(graph, y));
        }
    }
    quotients.into_iter()
}

/// Returns other operand and result of each multiplication by `factor`.
fn products(graph: &Graph<Op>, factor: Value) -> Vec<(Value, Value)> {
    let readers = graph.consumers(factor).into_iter();
    readers
        .filter(|(id, _)| matches!(graph.op(*id), Op::Mul(_)))
        .map(|(id, slot)| (graph.node_inputs(id)[1 - slot.min(1)], Value { node: id, slot: 0 }))
        .collect()
}

/// Returns whether two values are the same, or results of equal operators with the same operands.
fn is_same(graph: &Graph<Op>, a: Value, b: Value) -> bool {
    a == b
        || (graph.op(a.node) == graph.op(b.node)
            && !graph.node_inputs(a.node).is_empty()
            && graph.node_inputs(a.node) == graph.node_inputs(b.node))
}
