//! Normalisations as exporters spell them become one operator.
//!
//! Layer normalisation: `ReduceMean → Sub → (Pow 2 | Mul) → ReduceMean → Add ε → Sqrt → (Div | Reciprocal, Mul)`, then
//! `Mul γ → Add β` where there are such constants. Root-mean-square normalisation: the same without mean and `Sub`.
//! The pieces have rules of their own that do not add up to that of a normalisation, so this changes relevance.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{LayerNorm, Op, Reduce, ReduceKind};
use dlbc_ops::prim::Unary;

use super::pass::Context;
use super::pattern::{constant_operand, each, number, offset, replace, squared, unary};

/// Recovers every normalisation.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| match unary(graph, id)? {
        Unary::Sqrt => recover(graph, id),
        _ => None,
    })
}

fn recover(graph: &mut Graph<Op>, sqrt: NodeId) -> Option<()> {
    let shifted = graph.node_inputs(sqrt)[0];
    let (variance, epsilon) = offset(graph, shifted)?;
    let (square, axes) = mean(graph, variance)?;
    let centred = squared(graph, square)?;
    let (x, centre) = match subtracted_mean(graph, centred, &axes) {
        Some(x) => (x, true),
        None => (centred, false),
    };
    let std = Value { node: sqrt, slot: 0 };
    let mut y =
        quotients(graph, std).find_map(|(numerator, y)| same(graph, numerator, centred).then_some(y))?;
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
    replace(graph, y, LayerNorm { axes, epsilon: epsilon as f32, centre }, origin, &operands);
    Some(())
}

/// A mean that keeps its axes.
fn mean(graph: &Graph<Op>, v: Value) -> Option<(Value, Vec<usize>)> {
    match graph.op(v.node) {
        Op::Reduce(Reduce { kind: ReduceKind::Mean, axes, keep: true }) => {
            Some((graph.node_inputs(v.node)[0], axes.clone()))
        }
        _ => None,
    }
}

/// `x` of `x - mean(x)`.
fn subtracted_mean(graph: &Graph<Op>, v: Value, axes: &[usize]) -> Option<Value> {
    let inputs = graph.node_inputs(v.node);
    let (Op::Sub(_), &[x, m]) = (graph.op(v.node), inputs.as_slice()) else { return None };
    mean(graph, m).filter(|(of, over)| *of == x && over == axes).map(|_| x)
}

/// Values divided by `std`, with the quotients: `Div`, or `Mul` by the `Reciprocal`.
fn quotients(graph: &Graph<Op>, std: Value) -> impl Iterator<Item = (Value, Value)> {
    let mut found = vec![];
    for (reader, slot) in graph.consumers(std) {
        let y = Value { node: reader, slot: 0 };
        let inputs = graph.node_inputs(reader);
        match (graph.op(reader), slot) {
            (Op::Div(_), 1) => found.push((inputs[0], y)),
            // One over the deviation, as a reciprocal or as a quotient.
            _ if unary(graph, reader) == Some(Unary::Reciprocal) => found.extend(products(graph, y)),
            _ => {}
        }
        if matches!(graph.op(reader), Op::Div(_)) && slot == 1 && number(graph, inputs[0]) == Some(1.0) {
            found.extend(products(graph, y));
        }
    }
    found.into_iter()
}

fn products(graph: &Graph<Op>, factor: Value) -> Vec<(Value, Value)> {
    let readers = graph.consumers(factor).into_iter();
    readers
        .filter(|(id, _)| matches!(graph.op(*id), Op::Mul(_)))
        .map(|(id, slot)| (graph.node_inputs(id)[1 - slot.min(1)], Value { node: id, slot: 0 }))
        .collect()
}

/// Whether two values are one, or made by equal nodes of the same operands.
fn same(graph: &Graph<Op>, a: Value, b: Value) -> bool {
    a == b
        || (graph.op(a.node) == graph.op(b.node)
            && !graph.node_inputs(a.node).is_empty()
            && graph.node_inputs(a.node) == graph.node_inputs(b.node))
}
