//! Which products of a stage run on our own operators, and what is done in the same breath.
//!
//! A product with a constant takes along the elementwise steps that follow it, as far as nobody else reads what lies
//! between: the bias, the activation; in the reverse the division of the relevance by the product, and the product of its
//! adjoint with the operand. What they would write and read again is most of the memory traffic of an explanation.

use std::collections::{HashMap, HashSet};

use dlbc_backend::{Stage, count_reads};
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Binary, Prim, Transform};
use dlbc_ops::tensor::DType;

use super::cheap::cheap;
use super::epilogue::{Reach, Then};

/// A product and the steps that it takes along.
pub struct Chain {
    /// The product's node.
    pub product: NodeId,
    /// The steps: what is done and with which operand, if any.
    pub steps: Vec<(Then, Reach, Option<Value>)>,
}

/// The chains of a stage by their last node, and the nodes that are done within one.
#[derive(Default)]
pub struct Chains {
    /// By last node.
    pub by_end: HashMap<NodeId, Chain>,
    /// All nodes of chains but the last.
    pub inner: HashSet<NodeId>,
    /// Inputs that are matrices of products and nothing else: read where the caller's tensors lie.
    pub given: HashSet<NodeId>,
}

/// Finds the chains of a stage; `in_place` says whether its inputs may be read in place.
pub fn find(graph: &Graph<Prim>, stage: &Stage, in_place: bool) -> Chains {
    let reads = count_reads(graph, stage);
    let within: HashSet<NodeId> = stage.nodes.iter().copied().collect();
    let mut readers: HashMap<NodeId, NodeId> = HashMap::new();
    for id in &stage.nodes {
        for v in graph.node_inputs(*id) {
            readers.insert(v.node, *id);
        }
    }
    let given = if in_place { given(graph, stage) } else { HashSet::new() };
    let mut chains = Chains { given, ..Chains::default() };
    let mut taken: HashSet<NodeId> = HashSet::new();
    for id in stage.nodes.iter().filter(|id| is_product(graph, **id, &chains.given)) {
        let mut steps = vec![];
        let mut end = *id;
        if let (Prim::Conv(_), Some(bias)) = (graph.op(*id), graph.node_inputs(*id).get(2)) {
            let channels = elems(graph, *bias);
            steps.push((Then::Add, Reach::Row(channels), Some(*bias)));
        }
        while reads.get(&end) == Some(&1) {
            let Some(next) = readers.get(&end).copied().filter(|n| within.contains(n)) else { break };
            // Where two products meet, one of them goes on.
            let Some(step) = step(graph, *id, end, next).filter(|_| taken.insert(next)) else { break };
            steps.push(step);
            chains.inner.insert(end);
            end = next;
        }
        chains.by_end.insert(end, Chain { product: *id, steps });
    }
    chains
}

/// Whether a node is a product with a constant, or with a matrix that is `given`, that our own operators do.
fn is_product(graph: &Graph<Prim>, id: NodeId, given: &HashSet<NodeId>) -> bool {
    let inputs = graph.node_inputs(id);
    let constant = |i: usize| {
        inputs.get(i).is_some_and(|v| matches!(graph.op(v.node), Prim::Const(_)) || given.contains(&v.node))
    };
    let float = graph.node(id).types[0].dtype == DType::F32;
    match graph.op(id) {
        Prim::Conv(_) | Prim::ConvTranspose(_) => float && constant(1) && !constant(0),
        Prim::MatMul(prim::MatMul { a: Transform::Id, ta: false, .. }) => {
            let leading = dims(graph, inputs[1]);
            let flat = leading[..leading.len().saturating_sub(2)].iter().all(|d| *d == 1);
            float && constant(1) && !constant(0) && flat
        }
        _ => false,
    }
}

/// The inputs of a stage that only products read, as their second operand.
fn given(graph: &Graph<Prim>, stage: &Stage) -> HashSet<NodeId> {
    let matrix = |v: &&Value| {
        let ty = graph.ty(**v);
        matches!(graph.op(v.node), Prim::Input) && ty.dtype == DType::F32 && ty.rank() == 2
    };
    let mut given: HashSet<NodeId> = stage.inputs.iter().filter(matrix).map(|v| v.node).collect();
    for id in &stage.nodes {
        let plain = matches!(graph.op(*id), Prim::MatMul(prim::MatMul { a: Transform::Id, ta: false, .. }));
        for (k, v) in graph.node_inputs(*id).iter().enumerate() {
            let constant = matches!(graph.op(graph.node_inputs(*id)[0].node), Prim::Const(_));
            if k != 1 || !plain || constant {
                given.remove(&v.node);
            }
        }
    }
    stage.outputs.iter().for_each(|v| {
        given.remove(&v.node);
    });
    given
}

/// `next` as a step on `end`, which stands for the product `id`.
fn step(graph: &Graph<Prim>, id: NodeId, end: NodeId, next: NodeId) -> Option<(Then, Reach, Option<Value>)> {
    let made = graph.node(id).types[0].clone();
    if graph.node(next).types[0] != made {
        return None;
    }
    let inputs = graph.node_inputs(next);
    let then = match graph.op(next) {
        Prim::Unary(f) if cheap(*f) => return Some((Then::Map(*f), Reach::Full, None)),
        Prim::Binary(Binary::Add) => Then::Add,
        Prim::Binary(Binary::Mul) => Then::Mul,
        Prim::Binary(Binary::GuardedDiv) if inputs[1].node == end => Then::Into,
        _ => return None,
    };
    let other = *inputs.iter().find(|v| v.node != end)?;
    if graph.ty(other).dtype != DType::F32 {
        return None;
    }
    Some((then, reach(graph, id, other)?, Some(other)))
}

/// How `other` lies beside the product `id`.
fn reach(graph: &Graph<Prim>, id: NodeId, other: Value) -> Option<Reach> {
    let (full, own) = (dims(graph, Value { node: id, slot: 0 }), dims(graph, other));
    if own == full {
        return Some(Reach::Full);
    }
    let count: usize = own.iter().product();
    if count == 1 {
        return Some(Reach::Row(1));
    }
    let wide = [vec![1; full.len().checked_sub(own.len())?], own].concat();
    let only = |axis: usize| wide.iter().enumerate().all(|(i, d)| *d == if i == axis { full[i] } else { 1 });
    match graph.op(id) {
        Prim::MatMul(_) if only(full.len() - 1) => Some(Reach::Column(count)),
        Prim::MatMul(_) => None,
        _ if only(1) => Some(Reach::Row(count)),
        _ => None,
    }
}

fn dims(graph: &Graph<Prim>, v: Value) -> Vec<usize> {
    graph.ty(v).shape.as_known().unwrap_or_default()
}

fn elems(graph: &Graph<Prim>, v: Value) -> usize {
    dims(graph, v).iter().product()
}
