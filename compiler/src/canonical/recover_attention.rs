//! Recovers attention from its pieces `MatMul → scale, mask → Softmax → MatMul`.
//!
//! The scale may be a product or quotient before or after the first `MatMul`, or on either of its operands. Masks are added,
//! or chosen by `Where`, before or after the scale. A guard `Where(IsNaN(p), 0, p)` may follow the softmax. Any other node
//! between the first `MatMul` and the softmax (a soft cap, a second sum of products), and a mask that carries relevance,
//! leave the attention in pieces, whose rules have the same sum.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Add, Attention, Compare, Mul, Op, Select, Softmax, Transpose};
use dlbc_ops::prim::{AttentionGeometry, Binary};
use dlbc_ops::tensor::Tensor;

use super::pass::Context;
use super::pattern::{add, add_constant, each, float_constant, joint_origin, replace_by_op, scaled};
use crate::liveness::{Live, liveness};

/// Recovers every attention.
pub fn run(graph: &mut Graph<Op>, context: &Context) -> bool {
    let live = liveness(graph, context.options);
    let mut shared_masks = SharedMasks::new();
    each(graph, |graph, id| match graph.op(id) {
        Op::Softmax(_) => recover(graph, id, &live, &mut shared_masks),
        _ => None,
    })
}

/// Computation of the scores that a softmax reads: `scale · q keys + Σ factor · mask`.
struct Scores {
    /// Factor of the product of queries and keys.
    scale: f64,
    /// Masks with the factor of each, in reverse order of their application.
    masks: Vec<(Mask, f64)>,
    /// Queries, `[…, position, feature]`.
    q: Value,
    /// Transposed keys, `[…, feature, position]`.
    keys: Value,
    /// Nodes from the softmax's operand up to the product.
    pieces: Vec<NodeId>,
}

/// Additive masks by a description of their computation, since the layers of a model often use equal masks.
type SharedMasks = HashMap<String, Value>;

/// A mask of the scores.
#[derive(Clone, Copy)]
enum Mask {
    /// A tensor that is added to the scores.
    Added(Value),
    /// Scores where `condition` equals `keeps`, and `other` elsewhere.
    Chosen { condition: Value, keeps: bool, other: Value },
}

fn recover(
    graph: &mut Graph<Op>,
    softmax: NodeId,
    live: &HashMap<Value, Live>,
    shared_masks: &mut SharedMasks,
) -> Option<()> {
    let weights = Value { node: softmax, slot: 0 };
    let rank = graph.ty(weights).rank();
    if *graph.op(softmax) != Op::Softmax(Softmax { axis: rank.checked_sub(1)?, log: false }) || rank < 2 {
        return None;
    }
    let scores = scores(graph, graph.node_inputs(softmax)[0], live)?;
    let guard = nan_guard(graph, weights);
    let weights = guard.map_or(weights, |select| Value { node: select, slot: 0 });
    let value_products = value_products(graph, weights);
    if value_products.is_empty() {
        return None;
    }
    let has_equal_batch =
        |v: Value| graph.ty(v).shape.0[..graph.ty(v).rank() - 2] == graph.ty(weights).shape.0[..rank - 2];
    if graph.ty(scores.q).rank() != rank || graph.ty(scores.keys).rank() != rank {
        return None;
    }
    if !has_equal_batch(scores.q)
        || !has_equal_batch(scores.keys)
        || !value_products.iter().all(|(_, v)| graph.ty(*v).rank() == rank && has_equal_batch(*v))
    {
        return None;
    }
    let origin = joint_origin(graph, scores.pieces.iter().rev().chain([&softmax]).chain(&guard));
    let name = graph.node(softmax).name().to_string();
    let (q, factor) = strip_scale(graph, scores.q);
    let (keys, key_factor) = transpose_keys(graph, scores.keys, &name)?;
    let scale = (scores.scale * factor * key_factor) as f32;
    let key = mask_key(graph, &scores.masks);
    let mask = match shared_masks.get(&key) {
        Some(mask) => Some(*mask),
        None => add_mask(graph, &scores.masks, &name)?,
    };
    shared_masks.extend(mask.map(|mask| (key, mask)));
    for (product, v) in value_products {
        let y = Value { node: product, slot: 0 };
        let op = Attention { geometry: AttentionGeometry { scale, guard: guard.is_some() } };
        let operands: Vec<Value> = [q, keys, v].into_iter().chain(mask).collect();
        let origin = origin.join(&graph.node(product).origin);
        replace_by_op(graph, y, op, origin, &operands);
    }
    Some(())
}

/// Follows the operand of a softmax back to the product of queries and keys.
fn scores(graph: &Graph<Op>, operand: Value, live: &HashMap<Value, Live>) -> Option<Scores> {
    let is_live = |v: Value| live.get(&v).is_some_and(|l| *l != Live::No);
    let mut scores = Scores { scale: 1.0, masks: vec![], q: operand, keys: operand, pieces: vec![] };
    let mut v = operand;
    loop {
        scores.pieces.push(v.node);
        let inputs = graph.node_inputs(v.node);
        let next = match (graph.op(v.node), inputs.as_slice()) {
            (Op::MatMul(_), &[q, keys]) => {
                (scores.q, scores.keys) = (q, keys);
                return Some(scores);
            }
            (Op::Add(_), &[a, b]) => {
                let (next, mask) = match (is_live(a), is_live(b)) {
                    (true, false) => (a, b),
                    (false, true) => (b, a),
                    _ => return None,
                };
                scores.masks.push((Mask::Added(mask), scores.scale));
                next
            }
            (Op::Select(_), &[condition, a, b]) => {
                let (next, other, keeps) = match (is_live(a), is_live(b)) {
                    (true, false) => (a, b, true),
                    (false, true) => (b, a, false),
                    _ => return None,
                };
                scores.masks.push((Mask::Chosen { condition, keeps, other }, scores.scale));
                next
            }
            (Op::Mul(_) | Op::Div(_), _) => {
                let (next, factor) = scaled(graph, v)?;
                scores.scale *= factor;
                next
            }
            _ => return None,
        };
        // A broadcast on the way would shift the axes of the masks before it.
        if graph.ty(next).shape != graph.ty(v).shape {
            return None;
        }
        v = next;
    }
}

/// Returns the node that guards against rows without any key, `Where(IsNaN(p), 0, p)`.
fn nan_guard(graph: &Graph<Op>, p: Value) -> Option<NodeId> {
    for (select, _) in graph.consumers(p) {
        let inputs = graph.node_inputs(select);
        let (Op::Select(_), &[condition, zero, value]) = (graph.op(select), inputs.as_slice()) else {
            continue;
        };
        // `IsNaN(p)` is read as `Not(p == p)`.
        let is_not = |v: Value| matches!(graph.op(v.node), Op::Compare(Compare { f: None, .. }));
        let is_self_equal = |v: Value| {
            matches!(graph.op(v.node), Op::Compare(Compare { f: Some(Binary::Equal), .. }))
                && graph.node_inputs(v.node) == [p, p]
        };
        let is_nan = is_not(condition) && is_self_equal(graph.node_inputs(condition.node)[0]);
        if value == p && is_nan && float_constant(graph, zero) == Some(0.0) {
            return Some(select);
        }
    }
    None
}

/// Returns the products of the weights with values, and the values.
fn value_products(graph: &Graph<Op>, weights: Value) -> Vec<(NodeId, Value)> {
    let readers = graph.consumers(weights).into_iter();
    readers
        .filter(|(id, slot)| *slot == 0 && matches!(graph.op(*id), Op::MatMul(_)))
        .map(|(id, _)| (id, graph.node_inputs(id)[1]))
        .filter(|(_, v)| *v != weights)
        .collect()
}

/// Splits a value into operand and factor; the factor is 1 if it is not a multiple of an operand of the same shape.
fn strip_scale(graph: &Graph<Op>, v: Value) -> (Value, f64) {
    match scaled(graph, v) {
        Some((x, factor)) if graph.ty(x) == graph.ty(v) => (x, factor),
        _ => (v, 1.0),
    }
}

/// Transposes the keys back to `[…, position, feature]`, and splits off the factor that they are multiplied by.
fn transpose_keys(graph: &mut Graph<Op>, transposed: Value, name: &str) -> Option<(Value, f64)> {
    let (transposed, factor) = strip_scale(graph, transposed);
    let rank = graph.ty(transposed).rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    let mut keys = transposed;
    if let Op::Transpose(t) = graph.op(transposed.node) {
        perm = t.perm.clone();
        keys = graph.node_inputs(transposed.node)[0];
    }
    perm.swap(rank - 2, rank - 1);
    if perm.iter().enumerate().all(|(i, p)| i == *p) {
        return Some((keys, factor));
    }
    let origin = graph.node(transposed.node).origin.clone();
    Some((add(graph, Transpose { perm }, &format!("{name}.keys"), origin, &[keys])?, factor))
}

/// Describes the computation of a mask. Constants of one element go by their value, since each layer may have its additive copy.
fn mask_key(graph: &Graph<Op>, masks: &[(Mask, f64)]) -> String {
    let name =
        |v: Value| float_constant(graph, v).map_or_else(|| format!("{v:?}"), |number| format!("#{number}"));
    let terms = masks.iter().map(|(mask, factor)| match *mask {
        Mask::Added(v) => format!("{} {factor}", name(v)),
        Mask::Chosen { condition, keeps, other } => {
            format!("{} {keeps} {} {factor}", name(condition), name(other))
        }
    });
    terms.collect::<Vec<_>>().join(", ")
}

/// Adds nodes that compute the sum of all masks as one additive mask; `Some(None)` without masks.
fn add_mask(graph: &mut Graph<Op>, masks: &[(Mask, f64)], name: &str) -> Option<Option<Value>> {
    let [name, zero_name, factor_name] = ["mask", "zero", "factor"].map(|suffix| format!("{name}.{suffix}"));
    let mut sum: Option<Value> = None;
    for (mask, factor) in masks {
        let mut additive = match *mask {
            Mask::Added(v) => v,
            Mask::Chosen { condition, keeps, other } => {
                let origin = graph.node(condition.node).origin.clone();
                let zero = add_constant(graph, Tensor::scalar(0.0), &zero_name, origin.clone());
                let branches = if keeps { [condition, zero, other] } else { [condition, other, zero] };
                add(graph, Select, &name, origin, &branches)?
            }
        };
        let origin = graph.node(additive.node).origin.clone();
        if *factor != 1.0 {
            let factor = add_constant(graph, Tensor::scalar(*factor as f32), &factor_name, origin.clone());
            additive = add(graph, Mul, &name, origin.clone(), &[additive, factor])?;
        }
        sum = Some(match sum {
            None => additive,
            Some(other) => add(graph, Add, &name, origin, &[additive, other])?,
        });
    }
    Some(sum)
}
