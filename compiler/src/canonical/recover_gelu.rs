//! GELU as exporters spell it, `x · ½ · (1 + erf(x / √2))` in any order of its factors, becomes one activation.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Function, Op};
use dlbc_ops::prim::Unary;

use super::recover_silu::{activation, become_activation};

/// Recovers every GELU by its error function.
pub fn run(graph: &mut Graph<Op>) -> bool {
    let mut changed = false;
    for id in graph.topological() {
        if !graph.contains(id) {
            continue;
        }
        if activation(graph, id) == Some(Function::Unary(Unary::Erf)) {
            changed |= recover(graph, id).is_some();
        }
    }
    changed
}

fn recover(graph: &mut Graph<Op>, erf: NodeId) -> Option<()> {
    let (x, scale) = scaled(graph, graph.node_inputs(erf)[0])?;
    near(scale, std::f64::consts::FRAC_1_SQRT_2)?;
    let mut parts = vec![erf];
    let sum = graph.only_consumer(Value { node: erf, slot: 0 })?;
    near(addend(graph, sum)?, 1.0)?;
    parts.push(sum);
    // A chain of products up to the one that brings in x, with one factor ½ somewhere in it.
    let (mut last, mut factor, mut gated) = (Value { node: sum, slot: 0 }, 1.0, false);
    while !(gated && (factor - 0.5f64).abs() < 1e-6) {
        let next = graph.only_consumer(last)?;
        let inputs = graph.node_inputs(next);
        let (&[a, b], Op::Mul(_)) = (inputs.as_slice(), graph.op(next)) else { return None };
        let other = if a == last { b } else { a };
        match single(graph, other) {
            Some(c) => factor *= c,
            None if gated => return None,
            None => {
                // x, or x · ½.
                let (base, c) = if other == x { (x, 1.0) } else { scaled(graph, other)? };
                if base != x {
                    return None;
                }
                factor *= c;
                gated = true;
            }
        }
        parts.push(next);
        last = Value { node: next, slot: 0 };
    }
    become_activation(graph, x, Activation { f: Function::Gelu { tanh: false } }, &parts)
}

/// The operand and the factor of a product or quotient with a single number; the operand itself with factor 1.
pub(super) fn scaled(graph: &Graph<Op>, v: Value) -> Option<(Value, f64)> {
    let inputs = graph.node_inputs(v.node);
    match (graph.op(v.node), inputs.as_slice()) {
        (Op::Mul(_), &[a, b]) => match (single(graph, a), single(graph, b)) {
            (_, Some(c)) => Some((a, c)),
            (Some(c), _) => Some((b, c)),
            _ => None,
        },
        (Op::Div(_), &[a, b]) => single(graph, b).map(|c| (a, 1.0 / c)),
        _ => None,
    }
}

/// The single number that a sum adds.
fn addend(graph: &Graph<Op>, node: NodeId) -> Option<f64> {
    let inputs = graph.node_inputs(node);
    match (graph.op(node), inputs.as_slice()) {
        (Op::Add(_), &[a, b]) => single(graph, a).or_else(|| single(graph, b)),
        _ => None,
    }
}

/// A constant of one element.
fn single(graph: &Graph<Op>, v: Value) -> Option<f64> {
    graph.constant(v).filter(|t| t.elems() == 1 && t.dtype().is_float()).map(|t| t.to_f64()[0])
}

fn near(value: f64, expected: f64) -> Option<()> {
    ((value - expected).abs() < 1e-4 * expected.abs()).then_some(())
}
