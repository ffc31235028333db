//! Attention and its relevance as products, sums and softmax: the kernels know no more than those.

use std::collections::HashMap;

use dlbc_backend::BackendError;
use dlbc_ops::graph::{Body, Graph, Value};
use dlbc_ops::prim::{
    self, AttentionGeometry, AttentionPart, Binary, Builder, Prim, Reduction, Transform, Unary,
};

use crate::hoist::hoist;

/// The same program without the two primitives.
///
/// # Errors
/// When a type does not work out, which a checked program does not do.
pub(crate) fn expand(graph: &Graph<Prim>) -> Result<Graph<Prim>, BackendError> {
    let mut b = Builder::new();
    let mut made: HashMap<Value, Value> = HashMap::new();
    for id in graph.inputs() {
        let node = graph.node(*id);
        made.insert(Value { node: *id, slot: 0 }, b.input(node.name(), node.types[0].clone()));
    }
    for id in graph.topological() {
        let node = graph.node(id);
        let inputs: Vec<Value> = graph.node_inputs(id).iter().map(|v| made[v]).collect();
        b.set_origin(&node.origin, node.name());
        let value = match &node.op {
            Prim::Input => continue,
            Prim::Const(t) => b.constant(node.name(), t.clone()),
            Prim::Attention(prim::Attention(geometry)) => attention(&mut b, *geometry, &inputs),
            Prim::AttentionShare(prim::AttentionShare { geometry, value, part: of }) => {
                share(&mut b, *geometry, *value, *of, &inputs)
            }
            Prim::Scan(scan) => {
                let mut scan = scan.clone();
                scan.body = Body::new(expand(scan.body.graph())?);
                let (scan, inputs) = hoist(&mut b, &scan, &inputs).unwrap_or((scan, inputs));
                b.add(Prim::Scan(scan), &inputs)
            }
            op => b.add(op.clone(), &inputs),
        };
        b.ok().map_err(|e| BackendError::Node(format!("node `{}` ({:?}): {e}", node.name(), node.op)))?;
        made.insert(Value { node: id, slot: 0 }, value);
    }
    for (name, v) in graph.outputs() {
        let value = made[v];
        b.graph_mut().add_output(name.clone(), value);
    }
    Ok(b.finish())
}

fn product(b: &mut Builder, x: (Value, Transform, bool), y: (Value, Transform, bool)) -> Value {
    b.add(prim::MatMul { a: x.1, b: y.1, ta: x.2, tb: y.2 }, &[x.0, y.0])
}

fn binary(b: &mut Builder, op: Binary, x: Value, y: Value) -> Value {
    b.add(Prim::Binary(op), &[x, y])
}

/// `softmax(scale · q kᵀ + mask)`.
fn weights(b: &mut Builder, geometry: AttentionGeometry, q: Value, k: Value, mask: Option<Value>) -> Value {
    let scores = product(b, (q, Transform::Id, false), (k, Transform::Id, true));
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
    let none = b.scalar_like(f64::NEG_INFINITY, max);
    let masked = binary(b, Binary::Equal, max, none);
    let zero = b.scalar_like(0.0, p);
    b.add(Prim::Select, &[masked, zero, p])
}

fn attention(b: &mut Builder, geometry: AttentionGeometry, inputs: &[Value]) -> Value {
    let p = weights(b, geometry, inputs[0], inputs[1], inputs.get(3).copied());
    product(b, (p, Transform::Id, false), (inputs[2], Transform::Id, false))
}

/// As `Prim::AttentionShare` says: `f = p ⊙ ((r ⊘ p|v|) |v|ᵀ)` flows through the weights; each weight's own share goes on by
/// `|q||k|ᵀ`, half to the query and half to the key.
fn share(
    b: &mut Builder,
    geometry: AttentionGeometry,
    value: f32,
    of: AttentionPart,
    inputs: &[Value],
) -> Value {
    let [q, k, v, r] = [inputs[0], inputs[1], inputs[2], inputs[3]];
    let p = weights(b, geometry, q, k, inputs.get(4).copied());
    let z = product(b, (p, Transform::Id, false), (v, Transform::Abs, false));
    let ratio = binary(b, Binary::GuardedDiv, r, z);
    let scaled = |b: &mut Builder, factor: f64, x: Value| {
        let factor = b.scalar_like(factor, x);
        binary(b, Binary::Mul, x, factor)
    };
    let times_size = |b: &mut Builder, x: Value, given: Value| {
        let size = b.add(Prim::Unary(Unary::Abs), &[x]);
        binary(b, Binary::Mul, size, given)
    };
    if of == AttentionPart::Value {
        let given = product(b, (p, Transform::Id, true), (ratio, Transform::Id, false));
        let given = times_size(b, v, given);
        return scaled(b, f64::from(value), given);
    }
    let through = product(b, (ratio, Transform::Id, false), (v, Transform::Abs, true));
    let through = binary(b, Binary::Mul, p, through);
    let weight = scaled(b, 1.0 - f64::from(value), through);
    let all = product(b, (q, Transform::Abs, false), (k, Transform::Abs, true));
    match of {
        AttentionPart::Query | AttentionPart::Key => {
            let each = binary(b, Binary::GuardedDiv, weight, all);
            let (own, given) = if of == AttentionPart::Query {
                (q, product(b, (each, Transform::Id, false), (k, Transform::Abs, false)))
            } else {
                (k, product(b, (each, Transform::Id, true), (q, Transform::Abs, false)))
            };
            let given = times_size(b, own, given);
            scaled(b, 0.5, given)
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

/// The sum over the last axis of `x` where `z` is 0.
fn dropped(b: &mut Builder, x: Value, z: Value) -> Value {
    let zero = b.scalar_like(0.0, z);
    let lost = binary(b, Binary::Equal, z, zero);
    let kept = b.scalar_like(0.0, x);
    let x = b.add(Prim::Select, &[lost, x, kept]);
    let axis = b.ty(x).rank() - 1;
    b.add(prim::Reduce { kind: Reduction::Sum, axes: vec![axis], keep: false }, &[x])
}
