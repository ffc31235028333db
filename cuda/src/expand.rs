//! Rewrites attention and its relevance to matrix products, sums and softmax, and trees to look-ups and comparisons: the
//! operations that kernels exist for.

use std::collections::HashMap;

use dlbc_backend::BackendError;
use dlbc_ops::graph::{Body, Graph, Value};
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, Factor, Prim, Reduction, Transform, Unary,
};

use crate::hoist::hoist;

/// Largest number of branches on the way to a leaf that is written out.
const MAX_DEPTH: usize = 256;

/// Returns the program without `Attention`, `AttentionShare` and `TreeLeaves`, and with recurrences whose steps are hoisted.
///
/// # Errors
/// When trees are too deep, or the rewritten program does not type-check; a verified program always does.
pub(crate) fn expand(graph: &Graph<Prim>) -> Result<Graph<Prim>, BackendError> {
    let mut b = Builder::new();
    let mut values: HashMap<Value, Value> = HashMap::new();
    for id in graph.inputs() {
        let node = graph.node(*id);
        values.insert(Value { node: *id, slot: 0 }, b.input(node.name(), node.types[0].clone()));
    }
    for id in graph.topological() {
        let node = graph.node(id);
        let inputs: Vec<Value> = graph.node_inputs(id).iter().map(|v| values[v]).collect();
        b.set_origin(&node.origin, node.name());
        let value = match &node.op {
            Prim::Input => continue,
            Prim::Const(t) => b.constant(node.name(), t.clone()),
            Prim::Attention(prim::Attention(geometry)) => attention(&mut b, *geometry, &inputs),
            Prim::AttentionShare(prim::AttentionShare { geometry, value, part }) => {
                share(&mut b, *geometry, *value, *part, &inputs)
            }
            Prim::TreeLeaves(trees) if trees.depth > MAX_DEPTH => {
                return Err(BackendError::Node(format!(
                    "node `{}`: trees of depth {} on this device: expected at most {MAX_DEPTH}",
                    node.name(),
                    trees.depth
                )));
            }
            Prim::TreeLeaves(trees) => trees.expand(&mut b, &inputs),
            Prim::Scan(scan) => {
                let mut scan = scan.clone();
                scan.body = Body::new(expand(scan.body.graph())?);
                let (scan, inputs) = hoist(&mut b, &scan, &inputs).unwrap_or((scan, inputs));
                b.add(Prim::Scan(scan), &inputs)
            }
            op => b.add(op.clone(), &inputs),
        };
        b.ok().map_err(|e| BackendError::Node(format!("node `{}` ({:?}): {e}", node.name(), node.op)))?;
        values.insert(Value { node: id, slot: 0 }, value);
    }
    for (name, v) in graph.outputs() {
        let value = values[v];
        b.graph_mut().add_output(name.clone(), value);
    }
    Ok(b.finish())
}

fn binary(b: &mut Builder, op: Binary, x: Value, y: Value) -> Value {
    b.add(Prim::Binary(op), &[x, y])
}

/// Builds `softmax(scale · q kᵀ + mask)`; with `guard`, a row whose scores are all -∞ has weights 0.
fn weights(b: &mut Builder, geometry: AttentionGeometry, q: Value, k: Value, mask: Option<Value>) -> Value {
    let scores = b.matmul(q, Factor::transposed(k));
    let scale = b.scalar_like(f64::from(geometry.scale), scores);
    let mut scores = binary(b, Binary::Mul, scores, scale);
    if let Some(mask) = mask {
        scores = binary(b, Binary::Add, scores, mask);
    }
    let axis = b.ty(scores).rank() - 1;
    let p = b.add(prim::Softmax { axis }, &[scores]);
    if !geometry.guard {
        return p;
    }
    let max = b.add(prim::Reduce { kind: Reduction::Max, axes: vec![axis], keep: true }, &[scores]);
    let lowest = b.scalar_like(f64::NEG_INFINITY, max);
    let masked = binary(b, Binary::Equal, max, lowest);
    let zero = b.scalar_like(0.0, p);
    b.add(Prim::Select, &[masked, zero, p])
}

fn attention(b: &mut Builder, geometry: AttentionGeometry, inputs: &[Value]) -> Value {
    let p = weights(b, geometry, inputs[0], inputs[1], inputs.get(3).copied());
    b.matmul(p, inputs[2])
}

/// Builds one output of `Prim::AttentionShare`. The relevance `f = p ⊙ ((r ⊘ p|v|) |v|ᵀ)` flows through the weights; each weight
/// passes its relevance on in proportion to `|q||k|ᵀ`, half to the query and half to the key.
fn share(
    b: &mut Builder,
    geometry: AttentionGeometry,
    value: f32,
    part: AttentionPart,
    inputs: &[Value],
) -> Value {
    let [q, k, v, r] = [inputs[0], inputs[1], inputs[2], inputs[3]];
    let p = weights(b, geometry, q, k, inputs.get(4).copied());
    let z = b.matmul(p, Factor::transformed(v, Transform::Abs));
    let ratio = binary(b, Binary::GuardedDiv, r, z);
    let scaled = |b: &mut Builder, factor: f64, x: Value| {
        let factor = b.scalar_like(factor, x);
        binary(b, Binary::Mul, x, factor)
    };
    let times_magnitude = |b: &mut Builder, x: Value, ratio: Value| {
        let size = b.add(Prim::Unary(Unary::Abs), &[x]);
        binary(b, Binary::Mul, size, ratio)
    };
    if part == AttentionPart::Value {
        let ratio = b.matmul(Factor::transposed(p), ratio);
        let relevance = times_magnitude(b, v, ratio);
        return scaled(b, f64::from(value), relevance);
    }
    let through = b.matmul(ratio, Factor::transformed(v, Transform::Abs).transpose());
    let through = binary(b, Binary::Mul, p, through);
    let weight = scaled(b, 1.0 - f64::from(value), through);
    let all =
        b.matmul(Factor::transformed(q, Transform::Abs), Factor::transformed(k, Transform::Abs).transpose());
    match part {
        AttentionPart::Query | AttentionPart::Key => {
            let ratio = binary(b, Binary::GuardedDiv, weight, all);
            let (operand, ratio) = if part == AttentionPart::Query {
                (q, b.matmul(ratio, Factor::transformed(k, Transform::Abs)))
            } else {
                (k, b.matmul(Factor::transposed(ratio), Factor::transformed(q, Transform::Abs)))
            };
            let relevance = times_magnitude(b, operand, ratio);
            scaled(b, 0.5, relevance)
        }
        AttentionPart::Value | AttentionPart::Dropped => {
            let unread = dropped(b, r, z);
            if value == 1.0 {
                return unread;
            }
            let unmatched = dropped(b, weight, all);
            binary(b, Binary::Add, unread, unmatched)
        }
    }
}

/// Builds the sum over the last axis of those elements of `x` where `z` is 0.
fn dropped(b: &mut Builder, x: Value, z: Value) -> Value {
    let zero = b.scalar_like(0.0, z);
    let lost = binary(b, Binary::Equal, z, zero);
    let nothing = b.scalar_like(0.0, x);
    let x = b.add(Prim::Select, &[lost, x, nothing]);
    let axis = b.ty(x).rank() - 1;
    b.add(prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: false }, &[x])
}
