//! Operands that a mask may make infinite: an infinite term of a sum takes no share of the relevance, because the scores that it
//! masks receive none.

use std::collections::HashSet;

use crate::graph::Value;
use crate::prim::{Binary, Builder, Pad, PadMode, Prim};

/// Nodes that the search visits.
const NODES: usize = 64;

/// Elements of the largest constant that is searched.
const ELEMENTS: usize = 1 << 24;

/// Replaces infinite elements by 0 if a constant that `x` is made of has any.
pub(super) fn finite(b: &mut Builder, x: Value) -> Value {
    if !may_be_infinite(b, x) {
        return x;
    }
    let (magnitude, infinity, zero) = (b.abs(x), b.scalar_like(f64::INFINITY, x), b.scalar_like(0.0, x));
    let is_infinite = b.binary(Binary::Equal, magnitude, infinity);
    b.add(Prim::Select, &[is_infinite, zero, x])
}

/// Returns whether `x` is made of a constant with infinite elements by sums, choices and movements of elements.
fn may_be_infinite(b: &Builder, x: Value) -> bool {
    let graph = b.graph();
    let (mut seen, mut stack) = (HashSet::new(), vec![x]);
    while let Some(v) = stack.pop() {
        if seen.len() > NODES || !seen.insert(v) {
            continue;
        }
        if is_infinite(graph.op(v.node)) {
            return true;
        }
        if moves_or_adds(graph.op(v.node)) {
            stack.extend(graph.node_inputs(v.node));
        }
    }
    false
}

/// Returns whether a primitive is a constant with infinite elements, or padding with them.
fn is_infinite(prim: &Prim) -> bool {
    match prim {
        Prim::Const(t) if t.dtype().is_float() && t.elems() <= ELEMENTS => {
            // float32 is looked at in place.
            t.view().as_f32().map_or_else(|| has_infinity(&t.to_f32()), has_infinity)
        }
        prim => matches!(prim, Prim::Pad(Pad { mode: PadMode::Constant(value), .. }) if value.is_infinite()),
    }
}

/// Returns whether the result of a primitive is infinite where an operand is.
fn moves_or_adds(prim: &Prim) -> bool {
    matches!(
        prim,
        Prim::Binary(Binary::Add | Binary::Sub | Binary::Min | Binary::Max)
            | Prim::Select
            | Prim::Expand(_)
            | Prim::Reshape(_)
            | Prim::Slice(_)
            | Prim::Transpose(_)
            | Prim::Concat(_)
            | Prim::Cast(_)
            | Prim::Gather(_)
            | Prim::Pad(_)
    )
}

fn has_infinity(values: &[f32]) -> bool {
    values.iter().any(|v| v.is_infinite())
}
