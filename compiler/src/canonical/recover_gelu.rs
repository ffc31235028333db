//! GELU as exporters spell it becomes one activation: `x · ½ · (1 + erf(x / √2))`, or by the tanh formula
//! `x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`, their factors in any order.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Arithmetic, Function, Op};
use dlbc_ops::prim::{Binary, Unary};

use super::pass::Context;
use super::pattern::{become_activation, each, number, scaled, single, unary};

/// Recovers every GELU by its error function.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| {
        let argument = *graph.node_inputs(id).first()?;
        match unary(graph, id)? {
            Unary::Erf => recover(graph, id, by_erf(graph, argument)?, false),
            Unary::Tanh => recover(graph, id, by_tanh(graph, argument)?, true),
            _ => None,
        }
    })
}

/// `x` of `x / √2`.
fn by_erf(graph: &Graph<Op>, u: Value) -> Option<Value> {
    let (x, scale) = scaled(graph, u)?;
    near(scale, std::f64::consts::FRAC_1_SQRT_2)?;
    Some(x)
}

/// `x` of `√(2/π) · (x + 0.044715 · x³)`.
fn by_tanh(graph: &Graph<Op>, u: Value) -> Option<Value> {
    let (sum, scale) = scaled(graph, u)?;
    near(scale, (2.0 / std::f64::consts::PI).sqrt())?;
    let inputs = graph.node_inputs(sum.node);
    let (Op::Add(_), &[a, b]) = (graph.op(sum.node), inputs.as_slice()) else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, c)| {
        let (factor, power) = monomial(graph, c, x, 8)?;
        near(factor, 0.044_715)?;
        (power == 3.0).then_some(x)
    })
}

/// Factor and power of a product of numbers and powers of `x`, of so many nodes at most in a row.
fn monomial(graph: &Graph<Op>, v: Value, x: Value, depth: usize) -> Option<(f64, f64)> {
    if v == x {
        return Some((1.0, 1.0));
    }
    if let Some(c) = single(graph, v) {
        return Some((c, 0.0));
    }
    let inputs = graph.node_inputs(v.node);
    let &[a, b] = inputs.as_slice() else { return None };
    let of = |v: Value| monomial(graph, v, x, depth.checked_sub(1)?);
    match graph.op(v.node) {
        Op::Mul(_) => {
            let ((c, m), (d, n)) = (of(a)?, of(b)?);
            Some((c * d, m + n))
        }
        Op::Arithmetic(Arithmetic { f: Binary::Pow }) => {
            let ((c, m), n) = (of(a)?, number(graph, b)?);
            Some((c.powf(n), m * n))
        }
        _ => None,
    }
}

fn recover(graph: &mut Graph<Op>, inner: NodeId, x: Value, tanh: bool) -> Option<()> {
    let mut parts = vec![inner];
    let sum = graph.only_consumer(Value { node: inner, slot: 0 })?;
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
    become_activation(graph, x, Activation { f: Function::Gelu { tanh } }, &parts)
}

/// The single number that a sum adds.
fn addend(graph: &Graph<Op>, node: NodeId) -> Option<f64> {
    let inputs = graph.node_inputs(node);
    match (graph.op(node), inputs.as_slice()) {
        (Op::Add(_), &[a, b]) => single(graph, a).or_else(|| single(graph, b)),
        _ => None,
    }
}

fn near(value: f64, expected: f64) -> Option<()> {
    ((value - expected).abs() < 1e-4 * expected.abs()).then_some(())
}
