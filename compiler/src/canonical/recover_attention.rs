//! Attention as exporters spell it, `MatMul → scale, mask → Softmax → MatMul`, becomes one operator.
//!
//! The scale may be a product or quotient before or after the first `MatMul` or on either of its operands; masks are added, or
//! chosen by `Where`, before or after the scale; a guard `Where(IsNaN(p), 0, p)` may follow the softmax. What is left of
//! that form between the softmax and the scores (a soft cap, a second sum of products) leaves the attention in its pieces,
//! which have the same rule in sum. A mask that carries relevance does, too.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::{Add, Attention, Compare, Mul, Op, Select, Softmax, Transpose};
use dlbc_ops::prim::{AttentionGeometry, Binary};
use dlbc_ops::tensor::Tensor;

use super::pass::Context;
use super::pattern::{add, add_constant, each, origin, replace, scaled, single};
use crate::liveness::{Live, liveness};

/// Recovers every attention.
pub fn run(graph: &mut Graph<Op>, context: &Context) -> bool {
    let live = liveness(graph, context.options);
    let mut made = Made::new();
    each(graph, |graph, id| match graph.op(id) {
        Op::Softmax(_) => recover(graph, id, &live, &mut made),
        _ => None,
    })
}

/// What lies between a softmax and the product of queries and keys.
struct Scores {
    /// The factor on the product.
    scale: f64,
    /// Masks with the factor on each, the last applied first.
    masks: Vec<(Mask, f64)>,
    /// The product's operands.
    q: Value,
    keys: Value,
    /// The nodes that were passed.
    parts: Vec<NodeId>,
}

/// Additive masks by what they were made of: the layers of a model share theirs.
type Made = HashMap<String, Value>;

#[derive(Clone, Copy)]
enum Mask {
    /// Added.
    Added(Value),
    /// The scores stay where the condition has this value; elsewhere it is `other`.
    Chosen { condition: Value, keeps: bool, other: Value },
}

fn recover(
    graph: &mut Graph<Op>,
    softmax: NodeId,
    live: &HashMap<Value, Live>,
    made: &mut Made,
) -> Option<()> {
    let weights = Value { node: softmax, slot: 0 };
    let rank = graph.ty(weights).rank();
    if *graph.op(softmax) != Op::Softmax(Softmax { axis: rank.checked_sub(1)?, log: false }) || rank < 2 {
        return None;
    }
    let scores = scores(graph, graph.node_inputs(softmax)[0], live)?;
    let (weights, guard, guards) = guarded(graph, weights);
    let mixes = mixes(graph, weights);
    if mixes.is_empty() {
        return None;
    }
    let fits =
        |v: Value| graph.ty(v).shape.0[..graph.ty(v).rank() - 2] == graph.ty(weights).shape.0[..rank - 2];
    if graph.ty(scores.q).rank() != rank || graph.ty(scores.keys).rank() != rank {
        return None;
    }
    if !fits(scores.q)
        || !fits(scores.keys)
        || !mixes.iter().all(|(_, v)| graph.ty(*v).rank() == rank && fits(*v))
    {
        return None;
    }
    let origin = origin(graph, scores.parts.iter().rev().chain([&softmax]).chain(&guards));
    let name = graph.node(softmax).name().to_string();
    let (q, factor) = unscaled(graph, scores.q);
    let (keys, key_factor) = keys(graph, scores.keys, &name)?;
    let scale = (scores.scale * factor * key_factor) as f32;
    let key = key(graph, &scores.masks);
    let mask = match made.get(&key) {
        Some(mask) => Some(*mask),
        None => mask(graph, &scores.masks, &name)?,
    };
    made.extend(mask.map(|mask| (key, mask)));
    for (mix, v) in mixes {
        let y = Value { node: mix, slot: 0 };
        let op = Attention { geometry: AttentionGeometry { scale, guard } };
        let operands: Vec<Value> = [q, keys, v].into_iter().chain(mask).collect();
        let origin = origin.join(&graph.node(mix).origin);
        replace(graph, y, op, origin, &operands);
    }
    Some(())
}

/// Walks from the softmax to the product.
fn scores(graph: &Graph<Op>, from: Value, live: &HashMap<Value, Live>) -> Option<Scores> {
    let carries = |v: Value| live.get(&v).is_some_and(|l| *l != Live::No);
    let mut found = Scores { scale: 1.0, masks: vec![], q: from, keys: from, parts: vec![] };
    let mut v = from;
    loop {
        found.parts.push(v.node);
        let inputs = graph.node_inputs(v.node);
        let next = match (graph.op(v.node), inputs.as_slice()) {
            (Op::MatMul(_), &[q, keys]) => {
                (found.q, found.keys) = (q, keys);
                return Some(found);
            }
            (Op::Add(_), &[a, b]) => {
                let (next, mask) = match (carries(a), carries(b)) {
                    (true, false) => (a, b),
                    (false, true) => (b, a),
                    _ => return None,
                };
                found.masks.push((Mask::Added(mask), found.scale));
                next
            }
            (Op::Select(_), &[condition, a, b]) => {
                let (next, other, keeps) = match (carries(a), carries(b)) {
                    (true, false) => (a, b, true),
                    (false, true) => (b, a, false),
                    _ => return None,
                };
                found.masks.push((Mask::Chosen { condition, keeps, other }, found.scale));
                next
            }
            (Op::Mul(_) | Op::Div(_), _) => {
                let (next, factor) = scaled(graph, v)?;
                found.scale *= factor;
                next
            }
            _ => return None,
        };
        // A broadcast on the way would change what the mask's axes mean.
        if graph.ty(next).shape != graph.ty(v).shape {
            return None;
        }
        v = next;
    }
}

/// The weights behind a guard against rows without any key: `Where(IsNaN(p), 0, p)`.
fn guarded(graph: &Graph<Op>, p: Value) -> (Value, bool, Vec<NodeId>) {
    for (select, _) in graph.consumers(p) {
        let inputs = graph.node_inputs(select);
        let (Op::Select(_), &[condition, zero, value]) = (graph.op(select), inputs.as_slice()) else {
            continue;
        };
        let not = |v: Value| matches!(graph.op(v.node), Op::Compare(Compare { f: None, .. }));
        let same = |v: Value| {
            matches!(graph.op(v.node), Op::Compare(Compare { f: Some(Binary::Equal), .. }))
                && graph.node_inputs(v.node) == [p, p]
        };
        let nan = not(condition) && same(graph.node_inputs(condition.node)[0]);
        if value == p && nan && single(graph, zero) == Some(0.0) {
            return (Value { node: select, slot: 0 }, true, vec![select]);
        }
    }
    (p, false, vec![])
}

/// The products that the weights go into, with the values that they mix.
fn mixes(graph: &Graph<Op>, weights: Value) -> Vec<(NodeId, Value)> {
    let readers = graph.consumers(weights).into_iter();
    readers
        .filter(|(id, slot)| *slot == 0 && matches!(graph.op(*id), Op::MatMul(_)))
        .map(|(id, _)| (id, graph.node_inputs(id)[1]))
        .filter(|(_, v)| *v != weights)
        .collect()
}

/// A value without the number it is multiplied by.
fn unscaled(graph: &Graph<Op>, v: Value) -> (Value, f64) {
    match scaled(graph, v) {
        Some((x, factor)) if graph.ty(x) == graph.ty(v) => (x, factor),
        _ => (v, 1.0),
    }
}

/// The keys with their features last again, and the number that they are multiplied by.
fn keys(graph: &mut Graph<Op>, turned: Value, name: &str) -> Option<(Value, f64)> {
    let (turned, factor) = unscaled(graph, turned);
    let rank = graph.ty(turned).rank();
    let mut perm: Vec<usize> = (0..rank).collect();
    let mut from = turned;
    if let Op::Transpose(t) = graph.op(turned.node) {
        perm = t.perm.clone();
        from = graph.node_inputs(turned.node)[0];
    }
    perm.swap(rank - 2, rank - 1);
    if perm.iter().enumerate().all(|(i, p)| i == *p) {
        return Some((from, factor));
    }
    let origin = graph.node(turned.node).origin.clone();
    Some((add(graph, Transpose { perm }, &format!("{name}.keys"), origin, &[from])?, factor))
}

/// What masks are made of; constants of one number by their value, since each layer may have its own.
fn key(graph: &Graph<Op>, masks: &[(Mask, f64)]) -> String {
    let name = |v: Value| single(graph, v).map_or_else(|| format!("{v:?}"), |number| format!("#{number}"));
    let parts = masks.iter().map(|(mask, factor)| match *mask {
        Mask::Added(v) => format!("{} {factor}", name(v)),
        Mask::Chosen { condition, keeps, other } => {
            format!("{} {keeps} {} {factor}", name(condition), name(other))
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// One additive mask.
fn mask(graph: &mut Graph<Op>, masks: &[(Mask, f64)], name: &str) -> Option<Option<Value>> {
    let [name, zero_name, factor_name] = ["mask", "zero", "factor"].map(|part| format!("{name}.{part}"));
    let mut sum: Option<Value> = None;
    for (mask, factor) in masks {
        let mut own = match *mask {
            Mask::Added(v) => v,
            Mask::Chosen { condition, keeps, other } => {
                let origin = graph.node(condition.node).origin.clone();
                let zero = add_constant(graph, Tensor::scalar(0.0), &zero_name, origin.clone());
                let branches = if keeps { [condition, zero, other] } else { [condition, other, zero] };
                add(graph, Select, &name, origin, &branches)?
            }
        };
        let origin = graph.node(own.node).origin.clone();
        if *factor != 1.0 {
            let factor = add_constant(graph, Tensor::scalar(*factor as f32), &factor_name, origin.clone());
            own = add(graph, Mul, &name, origin.clone(), &[own, factor])?;
        }
        sum = Some(match sum {
            None => own,
            Some(other) => add(graph, Add, &name, origin, &[own, other])?,
        });
    }
    Some(sum)
}
