//! The bounds beyond which an activation hides one side of its layer's contributions.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Function, Op};
use dlbc_ops::prim::Unary;
use dlbc_ops::rule::{Bias, Contribution, Decided, Proportional, Rule, Saturated};

/// Whose reading of saturation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// The layer's result decides for every layer, a bound of 0 counts, and a dropped side leaves the denominator.
    Net,
    /// To the letter of DLBacktrace version 1: the bound 0 of Relu has no effect, a convolution is decided by the sum of its
    /// contributions' magnitudes.
    Literal,
}

/// The rule of a layer with weights: by the activation that alone reads its result.
pub(super) fn rule(graph: &Graph<Op>, layer: NodeId, variant: Variant) -> Rule {
    let plain = Rule::Proportional(Proportional { bias: Bias::Ledger, by: Contribution::Magnitude });
    let reader = graph.only_consumer(Value { node: layer, slot: 0 });
    let Some(bounds) = reader.and_then(|id| bounds(graph.op(id), variant)) else { return plain };
    let convolves = matches!(graph.op(layer), Op::Conv(_) | Op::ConvTranspose(_));
    let (by, tolerance) = match variant {
        Variant::Net => (Decided::Net, 1e-6),
        Variant::Literal if convolves => (Decided::Magnitude, 1e-5),
        Variant::Literal => (Decided::Net, 0.0),
    };
    Rule::Saturated(Saturated { tolerance, by, ..bounds })
}

/// The bounds of an activation; `None` of one that has none. Source: the table of DLBacktrace version 1.
fn bounds(op: &Op, variant: Variant) -> Option<Saturated> {
    let of = |lower, upper| Saturated { lower, upper, swish: None, tolerance: 0.0, by: Decided::Net };
    match op {
        Op::Softmax(softmax) if !softmax.log => Some(of(Some(-1.0), Some(2.0))),
        Op::Activation(activation) => match activation.f {
            Function::Unary(Unary::Relu) if variant == Variant::Net => Some(of(Some(0.0), None)),
            Function::Unary(Unary::Sigmoid) => Some(of(Some(-4.0), Some(4.0))),
            Function::Unary(Unary::Tanh) => Some(of(Some(-2.0), Some(2.0))),
            Function::Silu { alpha } => {
                // Version 1 compares values of x · σ(0.75 x).
                let slope = if variant == Variant::Net { alpha } else { 0.75 };
                Some(Saturated { swish: Some(slope), ..of(Some(-6.0), None) })
            }
            _ => None,
        },
        _ => None,
    }
}
