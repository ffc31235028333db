//! Which values cannot be negative: their magnitude needs no node.

use super::{Binary, Prim, Reduction, Unary};
use crate::graph::{Graph, Value};
use crate::prim;

/// How far the chain of shape-only and monotone primitives is followed.
const DEPTH: usize = 64;

/// Whether every element of `v` is known to be ≥ 0 (or NaN) whatever the inputs.
pub fn is_non_negative(graph: &Graph<Prim>, v: Value) -> bool {
    follow(graph, v, DEPTH)
}

fn follow(graph: &Graph<Prim>, v: Value, depth: usize) -> bool {
    if depth == 0 {
        return false;
    }
    let inputs = graph.node_inputs(v.node);
    let first = || inputs.first().is_some_and(|v| follow(graph, *v, depth - 1));
    let all = || inputs.iter().all(|v| follow(graph, *v, depth / 2));
    match graph.op(v.node) {
        Prim::Unary(u) => match u {
            Unary::Abs | Unary::Exp | Unary::Sqrt | Unary::Sigmoid | Unary::Relu | Unary::Softplus => true,
            Unary::HardSigmoid { .. } => true,
            Unary::Clip { max: Some(max), .. } if *max < 0.0 => false,
            Unary::Clip { min, .. } => min.is_some_and(|m| m >= 0.0) || first(),
            _ => false,
        },
        Prim::Binary(Binary::Add | Binary::Mul | Binary::Div | Binary::GuardedDiv | Binary::Min) => all(),
        Prim::Binary(Binary::Max) => inputs.iter().any(|v| follow(graph, *v, depth / 2)),
        Prim::Softmax(_) => true,
        Prim::Reduce(prim::Reduce {
            kind: Reduction::Sum | Reduction::Max | Reduction::Min | Reduction::Prod,
            ..
        }) => first(),
        Prim::WindowSum(_) | Prim::WindowSumTranspose(_) => first(),
        // A window of pads alone is -∞; pads smaller than the kernel leave none.
        Prim::WindowMax(prim::WindowMax(w)) => {
            (0..w.rank()).all(|i| w.before[i] < w.extent(i) && w.after[i] < w.extent(i)) && first()
        }
        Prim::Reshape(_) | Prim::Transpose(_) | Prim::Slice(_) | Prim::SliceTranspose(_) => first(),
        Prim::Expand(_) | Prim::Gather(_) => first(),
        Prim::Concat(_) => all(),
        Prim::Const(t) => t.dtype().is_float() && t.elems() <= 64 && t.to_f64().iter().all(|x| *x >= 0.0),
        _ => false,
    }
}
