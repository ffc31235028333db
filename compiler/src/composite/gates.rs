//! Gates: factors of a product that lie between 0 and 1.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::Unary;

/// Returns whether a value is a sigmoid-like activation, possibly moved or broadcast, or 1 minus such a value.
pub(super) fn is_gate(graph: &Graph<Op>, v: Value) -> bool {
    const DEPTH: usize = 8;
    let mut v = v;
    for _ in 0..DEPTH {
        match graph.op(v.node) {
            Op::Activation(a) => {
                return match a.f {
                    Function::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) => true,
                    Function::Unary(Unary::Clip { min, max }) => min == Some(0.0) && max == Some(1.0),
                    _ => false,
                };
            }
            Op::Softmax(s) => return !s.log,
            // The complement `1 - gate` is a gate, too.
            Op::Sub(_) => {
                let inputs = graph.node_inputs(v.node);
                let (Some(a), Some(b)) = (inputs.first(), inputs.get(1)) else { return false };
                let is_complement = graph.constant(*a).is_some_and(|t| t.to_f64().iter().all(|x| *x == 1.0));
                if !is_complement {
                    return false;
                }
                v = *b;
            }
            Op::Reshape(_) | Op::Transpose(_) | Op::Expand(_) | Op::Slice(_) => {
                let Some(x) = graph.node_inputs(v.node).first().copied() else { return false };
                v = x;
            }
            // Some exporters write a hard sigmoid as a clip that is divided by its bound.
            Op::Div(_) | Op::Mul(_) => {
                let inputs = graph.node_inputs(v.node);
                let (Some(a), Some(b)) = (inputs.first(), inputs.get(1)) else { return false };
                let (x, c) = if graph.constant(*b).is_some() { (*a, *b) } else { (*b, *a) };
                let Some(c) = graph.constant(c).filter(|t| t.elems() == 1).map(|t| t.to_f64()[0]) else {
                    return false;
                };
                let bound = if matches!(graph.op(v.node), Op::Div(_)) { c } else { 1.0 / c };
                return match graph.op(x.node) {
                    Op::Activation(a) => match a.f {
                        Function::Unary(Unary::Clip { min: Some(0.0), max: Some(max) }) => {
                            (f64::from(max) - bound).abs() < 1e-3 * bound.abs()
                        }
                        _ => false,
                    },
                    _ => false,
                };
            }
            _ => return false,
        }
    }
    false
}
