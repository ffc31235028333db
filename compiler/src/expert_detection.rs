//! Mixtures of experts, found by structure: what a router's greatest scores weigh.
//!
//! A [`TopK`](dlbc_ops::op::TopK) chooses experts; what follows from its values by movement and normalisation alone is a routing
//! weight; an operand that it multiplies, which depends on weights of its own, is what an expert says. So an expert is found
//! whether its tokens were gathered, masked, or all experts stand in one tensor. Layers and experts are named by the scope of
//! the nodes and weights where it tells.

use std::collections::{BTreeMap, HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;

/// A layer of experts.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertLayer {
    /// Its scope in the model, or its place among such layers.
    pub name: String,
    /// The number of experts.
    pub experts: usize,
    /// What experts say, times their weights.
    pub slots: Vec<RoutedProduct>,
    /// Where the experts' shares have come together.
    pub sum: NodeId,
}

/// A product of what experts say and their routing weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedProduct {
    /// The product.
    pub product: NodeId,
    /// Which of its operands is the weight.
    pub weight: usize,
    /// The expert; `None` when the product has an axis of experts.
    pub expert: Option<usize>,
    /// The axis of experts, counted from the last: the weight has it, too.
    pub axis_from_end: Option<usize>,
}

/// Finds the layers of experts, in the model's order.
pub fn find_expert_layers(graph: &Graph<Op>) -> Vec<ExpertLayer> {
    let order = graph.topological();
    let place: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let routers: Vec<NodeId> =
        order.iter().copied().filter(|id| matches!(graph.op(*id), Op::TopK(_))).collect();
    let mut layers = vec![];
    for router in routers {
        let Op::TopK(top) = graph.op(router) else { continue };
        let scores = graph.node_inputs(router)[0];
        let Some(experts) = graph.ty(scores).dim(top.axis).as_known().and_then(|n| usize::try_from(n).ok())
        else {
            continue;
        };
        let mut slots = slots(graph, &order, router, scores, experts);
        slots.sort_by_key(|s| place[&s.product]);
        if slots.is_empty() || !number(graph, &mut slots, experts) {
            continue;
        }
        let Some(sum) = meeting(graph, &order, &slots) else { continue };
        let name = scope(graph, &slots[0]).map(|(scope, _)| scope).or_else(|| router_scope(graph, scores));
        let name = name.unwrap_or_else(|| format!("experts {}", layers.len() + 1));
        layers.push(ExpertLayer { name, experts, slots, sum });
    }
    layers
}

/// The products with weights that follow from a router's choice.
fn slots(
    graph: &Graph<Op>,
    order: &[NodeId],
    router: NodeId,
    scores: Value,
    experts: usize,
) -> Vec<RoutedProduct> {
    let mut weights: HashSet<NodeId> = HashSet::new();
    let mut found = vec![];
    for id in order {
        let inputs = graph.node_inputs(*id);
        let steered = |v: &Value| weights.contains(&v.node);
        // The values are a lookup of the scores at the router's indices.
        let looked_up = matches!(graph.op(*id), Op::Gather(_))
            && graph.ty(Value { node: *id, slot: 0 }).dtype.is_float()
            && follows(graph, inputs[0], scores.node)
            && follows(graph, inputs[1], router);
        if looked_up {
            weights.insert(*id);
            continue;
        }
        if !inputs.iter().any(steered) || !graph.node(*id).types[0].dtype.is_float() {
            continue;
        }
        match graph.op(*id) {
            Op::Mul(_) if inputs.len() == 2 => {
                let weight = inputs.iter().position(steered).unwrap_or(0);
                let value = inputs[1 - weight];
                if steered(&value) || !says_something(graph, value) {
                    weights.insert(*id);
                    continue;
                }
                let (own, product) = (graph.ty(inputs[weight]), graph.ty(Value { node: *id, slot: 0 }));
                let from_end = (1..=own.rank().min(product.rank())).find(|k| {
                    let is = |ty: &dlbc_ops::tensor::TensorType| ty.dim(ty.rank() - k).is(experts as i64);
                    is(own) && is(product)
                });
                found.push(RoutedProduct { product: *id, weight, expert: None, axis_from_end: from_end });
            }
            Op::Gather(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Expand(_)
            | Op::Cast(_)
            | Op::Overwrite(_)
            | Op::ScatterAdd(_)
            | Op::Select(_)
            | Op::Softmax(_)
            | Op::Div(_)
            | Op::Reduce(_)
            | Op::Add(_)
            | Op::Concat(_) => {
                weights.insert(*id);
            }
            _ => {}
        }
    }
    found
}

/// Whether a value is another's by movement of it alone.
fn follows(graph: &Graph<Op>, v: Value, node: NodeId) -> bool {
    let mut v = v;
    loop {
        if v.node == node {
            return true;
        }
        v = match graph.op(v.node) {
            Op::Reshape(_) | Op::Cast(_) | Op::Transpose(_) | Op::Slice(_) | Op::Expand(_) => {
                graph.node_inputs(v.node)[0]
            }
            // Indices made into places of the flattened scores.
            Op::Add(_) | Op::Select(_) | Op::Mul(_) => {
                let inputs = graph.node_inputs(v.node);
                return inputs.into_iter().any(|x| follows(graph, x, node));
            }
            _ => return false,
        };
    }
}

/// Whether a value depends on a linear map before anything else: it is computed, and no mask.
fn says_something(graph: &Graph<Op>, v: Value) -> bool {
    linear(graph, v).is_some()
}

/// The linear map that a value comes from, by sums, movement and elementwise functions.
fn linear(graph: &Graph<Op>, v: Value) -> Option<NodeId> {
    let mut seen = HashSet::new();
    let mut stack = vec![v.node];
    while let Some(id) = stack.pop() {
        if !seen.insert(id) || seen.len() > 256 {
            continue;
        }
        match graph.op(id) {
            Op::Linear(_) | Op::MatMul(_) => return Some(id),
            Op::Add(_)
            | Op::Reshape(_)
            | Op::Concat(_)
            | Op::Cast(_)
            | Op::Activation(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Gather(_) => {
                stack.extend(graph.node_inputs(id).into_iter().rev().map(|v| v.node));
            }
            _ => {}
        }
    }
    None
}

/// Numbers the experts: by their scope where it tells, else in the model's order. Whether that works out.
fn number(graph: &Graph<Op>, slots: &mut [RoutedProduct], experts: usize) -> bool {
    if slots.iter().all(|s| s.axis_from_end.is_some()) {
        return slots.len() == 1;
    }
    if slots.len() != experts {
        return false;
    }
    let named: Vec<Option<usize>> =
        slots.iter().map(|s| scope(graph, s).and_then(|(_, e)| e).filter(|e| *e < experts)).collect();
    let distinct: HashSet<usize> = named.iter().flatten().copied().collect();
    for (i, slot) in slots.iter_mut().enumerate() {
        slot.axis_from_end = None;
        slot.expert = if distinct.len() == experts { named[i] } else { Some(i) };
    }
    true
}

/// The scope of a slot's layer and the number of its expert, from the names of what it comes from.
fn scope(graph: &Graph<Op>, slot: &RoutedProduct) -> Option<(String, Option<usize>)> {
    let inputs = graph.node_inputs(slot.product);
    let value = inputs[1 - slot.weight];
    let origin = linear(graph, value)?;
    let weights = graph.node_inputs(origin).into_iter().map(|v| graph.value_name(v).to_string());
    let nodes = graph.node(origin).origin.nodes.iter().map(|(n, _)| n.clone());
    let own = graph.node(slot.product).origin.nodes.iter().map(|(n, _)| n.clone());
    let names: Vec<String> = nodes.chain(weights).chain(own).collect();
    let numbered = names.iter().find_map(|name| {
        let (layer, rest) = name.split_once("experts")?;
        let digits: String = rest.chars().skip(1).take_while(char::is_ascii_digit).collect();
        Some((clean(layer)?, digits.parse().ok()))
    });
    numbered.or_else(|| {
        let path = names.iter().find(|n| n.contains("layers.") || n.contains("layers/"))?;
        let end = path.rfind('/').or_else(|| path.rfind('.'))?;
        Some((clean(&path[..end])?, None))
    })
}

/// The scope of a router, from the names of what its scores come from.
fn router_scope(graph: &Graph<Op>, scores: Value) -> Option<String> {
    let map = linear(graph, scores)?;
    let weights = graph.node_inputs(map).into_iter().map(|v| graph.value_name(v).to_string());
    let nodes = graph.node(map).origin.nodes.iter().map(|(n, _)| n.clone());
    nodes.chain(weights).find_map(|name| {
        let at = ["router", "gate"].into_iter().filter_map(|word| name.find(word)).min()?;
        clean(&name[..at])
    })
}

/// A scope without separators at its ends; slashes become dots, so that exporters agree.
fn clean(path: &str) -> Option<String> {
    let path = path.replace('/', ".");
    let path = path.trim_matches('.');
    (!path.is_empty()).then(|| path.to_string())
}

/// The first node at which all slots have come together by addition and movement.
fn meeting(graph: &Graph<Op>, order: &[NodeId], slots: &[RoutedProduct]) -> Option<NodeId> {
    let mut reached: BTreeMap<NodeId, HashSet<usize>> =
        slots.iter().enumerate().map(|(i, s)| (s.product, HashSet::from([i]))).collect();
    if slots.len() == 1 {
        return Some(slots[0].product);
    }
    for id in order {
        let adds = matches!(
            graph.op(*id),
            Op::Add(_)
                | Op::ScatterAdd(_)
                | Op::Overwrite(_)
                | Op::Reshape(_)
                | Op::Cast(_)
                | Op::Expand(_)
                | Op::Reduce(_)
                | Op::Concat(_)
                | Op::Transpose(_)
        );
        if !adds {
            continue;
        }
        let mut own = HashSet::new();
        for v in graph.node_inputs(*id) {
            own.extend(reached.get(&v.node).into_iter().flatten().copied());
        }
        if own.len() == slots.len() {
            return Some(*id);
        }
        if !own.is_empty() {
            reached.insert(*id, own);
        }
    }
    None
}
