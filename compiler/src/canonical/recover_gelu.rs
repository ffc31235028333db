//! Recovers GELU from its pieces: `x · ½ · (1 + erf(x / √2))`, or the approximation
//! `x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`, with factors in any order.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Activation, Arithmetic, Function, Op};
use dlbc_ops::prim::{Binary, Unary};

use super::pass::Context;
use super::pattern::{each, float_constant, replace_by_activation, scalar_constant, scaled, unary};

/// Recovers every GELU.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, |graph, id| {
        let argument = *graph.node_inputs(id).first()?;
        match unary(graph, id)? {
            Unary::Erf => recover(graph, id, erf_operand(graph, argument)?, Gelu::Erf),
            Unary::Tanh => recover(graph, id, tanh_operand(graph, argument)?, Gelu::Tanh),
            _ => None,
        }
    })
}

/// Formula of a GELU.
#[derive(Clone, Copy, PartialEq)]
enum Gelu {
    /// The definition by the error function.
    Erf,
    /// The approximation by the hyperbolic tangent.
    Tanh,
}

/// Returns `x` if `u` is `x / √2`.
fn erf_operand(graph: &Graph<Op>, u: Value) -> Option<Value> {
    let (x, scale) = scaled(graph, u)?;
    near(scale, std::f64::consts::FRAC_1_SQRT_2)?;
    Some(x)
}

/// Returns `x` if `u` is `√(2/π) · (x + 0.044715 · x³)`.
fn tanh_operand(graph: &Graph<Op>, u: Value) -> Option<Value> {
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

/// Returns factor and exponent if `v` is a constant times a power of `x`, written with at most `depth` nested nodes.
fn monomial(graph: &Graph<Op>, v: Value, x: Value, depth: usize) -> Option<(f64, f64)> {
    if v == x {
        return Some((1.0, 1.0));
    }
    if let Some(c) = float_constant(graph, v) {
        return Some((c, 0.0));
    }
    let inputs = graph.node_inputs(v.node);
    let &[a, b] = inputs.as_slice() else { return None };
    let operand = |v: Value| monomial(graph, v, x, depth.checked_sub(1)?);
    match graph.op(v.node) {
        Op::Mul(_) => {
            let ((c, m), (d, n)) = (operand(a)?, operand(b)?);
            Some((c * d, m + n))
        }
        Op::Arithmetic(Arithmetic { f: Binary::Pow }) => {
            let ((c, m), n) = (operand(a)?, scalar_constant(graph, b)?);
            Some((c.powf(n), m * n))
        }
        _ => None,
    }
}

/// Recovers a GELU of `x` from the node that computes its error function or hyperbolic tangent.
fn recover(graph: &mut Graph<Op>, curve: NodeId, x: Value, formula: Gelu) -> Option<()> {
    let mut pieces = vec![curve];
    let sum = graph.only_consumer(Value { node: curve, slot: 0 })?;
    near(constant_addend(graph, sum)?, 1.0)?;
    pieces.push(sum);
    // A chain of products, with one factor x and constant factors whose product is ½.
    let (mut last, mut factor, mut has_x) = (Value { node: sum, slot: 0 }, 1.0, false);
    while !(has_x && (factor - 0.5f64).abs() < 1e-6) {
        let next = graph.only_consumer(last)?;
        let inputs = graph.node_inputs(next);
        let (&[a, b], Op::Mul(_)) = (inputs.as_slice(), graph.op(next)) else { return None };
        let other = if a == last { b } else { a };
        match float_constant(graph, other) {
            Some(c) => factor *= c,
            None if has_x => return None,
            None => {
                // The factor is x, or a multiple of x.
                let (base, c) = if other == x { (x, 1.0) } else { scaled(graph, other)? };
                if base != x {
                    return None;
                }
                factor *= c;
                has_x = true;
            }
        }
        pieces.push(next);
        last = Value { node: next, slot: 0 };
    }
    let f = Function::Gelu { tanh: formula == Gelu::Tanh };
    replace_by_activation(graph, x, Activation { f }, &pieces)
}

/// Returns the float constant of one element that a sum adds.
fn constant_addend(graph: &Graph<Op>, node: NodeId) -> Option<f64> {
    let inputs = graph.node_inputs(node);
    match (graph.op(node), inputs.as_slice()) {
        (Op::Add(_), &[a, b]) => float_constant(graph, a).or_else(|| float_constant(graph, b)),
        _ => None,
    }
}

/// `Some(())` if a value is within a relative error of 10⁻⁴ of `expected`.
fn near(value: f64, expected: f64) -> Option<()> {
    ((value - expected).abs() < 1e-4 * expected.abs()).then_some(())
}
