//! Detection of products that run on operators of this crate, and of their epilogues.
//!
//! A product with a constant is fused with the elementwise steps that follow it, as long as intermediate values have no other
//! reader: bias and activation in the forward; in the reverse, the division of the relevance by the product, and the
//! multiplication of the adjoint by the operand. Without fusion, these steps would cause most of the memory traffic of an
//! explanation.

use std::collections::{HashMap, HashSet};

use dlbc_backend::{Stage, count_reads};
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Binary, Prim, Transform};
use dlbc_ops::tensor::DType;

use super::cheap::cheap;
use super::epilogue::{Broadcast, StepOp};

/// Permission for products to read matrices that are inputs of a stage from the caller's tensors.
#[derive(Clone, Copy, PartialEq)]
pub enum BorrowInputs {
    Allowed,
    Forbidden,
}

/// A step of a chain's epilogue.
#[derive(Clone, Copy)]
pub struct ChainStep {
    pub op: StepOp,
    /// Broadcast of the operand.
    pub broadcast: Broadcast,
    /// Operand of the step, if it has one.
    pub operand: Option<Value>,
}

/// A product and its epilogue.
pub struct Chain {
    /// Node of the product.
    pub product: NodeId,
    /// Steps of the epilogue.
    pub steps: Vec<ChainStep>,
}

/// The chains of a stage.
#[derive(Default)]
pub struct Chains {
    /// Chains by their last node.
    pub by_end: HashMap<NodeId, Chain>,
    /// Nodes of chains other than the last.
    pub inner: HashSet<NodeId>,
    /// Inputs that only products read, as their matrix; they are read from the caller's tensors.
    pub borrowed: HashSet<NodeId>,
}

/// Finds the chains of a stage.
pub fn find(graph: &Graph<Prim>, stage: &Stage, inputs: BorrowInputs) -> Chains {
    let reads = count_reads(graph, stage);
    let within: HashSet<NodeId> = stage.nodes.iter().copied().collect();
    let mut readers: HashMap<NodeId, NodeId> = HashMap::new();
    for id in &stage.nodes {
        for v in graph.node_inputs(*id) {
            readers.insert(v.node, *id);
        }
    }
    let borrowed = match inputs {
        BorrowInputs::Allowed => borrowed_inputs(graph, stage),
        BorrowInputs::Forbidden => HashSet::new(),
    };
    let mut chains = Chains { borrowed, ..Chains::default() };
    let mut fused: HashSet<NodeId> = HashSet::new();
    for id in stage.nodes.iter().filter(|id| is_product(graph, **id, &chains.borrowed)) {
        let mut steps = vec![];
        let mut end = *id;
        if let (Prim::Conv(_), Some(bias)) = (graph.op(*id), graph.node_inputs(*id).get(2)) {
            let channels = elems(graph, *bias);
            let broadcast = Broadcast::Row(channels);
            steps.push(ChainStep { op: StepOp::Add, broadcast, operand: Some(*bias) });
        }
        while reads.get(&end) == Some(&1) {
            let Some(next) = readers.get(&end).copied().filter(|n| within.contains(n)) else { break };
            // A node that reads two products is fused with the first.
            let Some(step) = step(graph, *id, end, next).filter(|_| fused.insert(next)) else { break };
            steps.push(step);
            chains.inner.insert(end);
            end = next;
        }
        chains.by_end.insert(end, Chain { product: *id, steps });
    }
    chains
}

/// Returns whether a node is a product with a constant or a borrowed matrix that operators of this crate compute.
fn is_product(graph: &Graph<Prim>, id: NodeId, borrowed: &HashSet<NodeId>) -> bool {
    let inputs = graph.node_inputs(id);
    let constant = |i: usize| {
        inputs
            .get(i)
            .is_some_and(|v| matches!(graph.op(v.node), Prim::Const(_)) || borrowed.contains(&v.node))
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

/// Returns the inputs of a stage that only products read, as their second operand.
fn borrowed_inputs(graph: &Graph<Prim>, stage: &Stage) -> HashSet<NodeId> {
    let matrix = |v: &&Value| {
        let ty = graph.ty(**v);
        matches!(graph.op(v.node), Prim::Input) && ty.dtype == DType::F32 && ty.rank() == 2
    };
    let mut borrowed: HashSet<NodeId> = stage.inputs.iter().filter(matrix).map(|v| v.node).collect();
    for id in &stage.nodes {
        let plain = matches!(graph.op(*id), Prim::MatMul(prim::MatMul { a: Transform::Id, ta: false, .. }));
        for (k, v) in graph.node_inputs(*id).iter().enumerate() {
            let constant = matches!(graph.op(graph.node_inputs(*id)[0].node), Prim::Const(_));
            if k != 1 || !plain || constant {
                borrowed.remove(&v.node);
            }
        }
    }
    stage.outputs.iter().for_each(|v| {
        borrowed.remove(&v.node);
    });
    borrowed
}

/// Returns `next` as a step that follows `end` in the chain of the product `id`, if epilogues support it.
fn step(graph: &Graph<Prim>, id: NodeId, end: NodeId, next: NodeId) -> Option<ChainStep> {
    if graph.node(next).types[0] != graph.node(id).types[0] {
        return None;
    }
    let inputs = graph.node_inputs(next);
    let op = match graph.op(next) {
        Prim::Unary(f) if cheap(*f) => {
            return Some(ChainStep { op: StepOp::Map(*f), broadcast: Broadcast::Full, operand: None });
        }
        Prim::Binary(Binary::Add) => StepOp::Add,
        Prim::Binary(Binary::Mul) => StepOp::Mul,
        Prim::Binary(Binary::GuardedDiv) if inputs[1].node == end => StepOp::DivideInto,
        _ => return None,
    };
    let other = *inputs.iter().find(|v| v.node != end)?;
    if graph.ty(other).dtype != DType::F32 {
        return None;
    }
    Some(ChainStep { op, broadcast: broadcast(graph, id, other)?, operand: Some(other) })
}

/// Returns the broadcast of `other` to the product `id`, if epilogues support it.
fn broadcast(graph: &Graph<Prim>, id: NodeId, other: Value) -> Option<Broadcast> {
    let (full, operand) = (dims(graph, Value { node: id, slot: 0 }), dims(graph, other));
    if operand == full {
        return Some(Broadcast::Full);
    }
    let count: usize = operand.iter().product();
    if count == 1 {
        return Some(Broadcast::Row(1));
    }
    let aligned = [vec![1; full.len().checked_sub(operand.len())?], operand].concat();
    let only =
        |axis: usize| aligned.iter().enumerate().all(|(i, d)| *d == if i == axis { full[i] } else { 1 });
    match graph.op(id) {
        Prim::MatMul(_) if only(full.len() - 1) => Some(Broadcast::Column(count)),
        Prim::MatMul(_) => None,
        _ if only(1) => Some(Broadcast::Row(count)),
        _ => None,
    }
}

fn dims(graph: &Graph<Prim>, v: Value) -> Vec<usize> {
    graph.ty(v).shape.as_known().unwrap_or_default()
}

fn elems(graph: &Graph<Prim>, v: Value) -> usize {
    dims(graph, v).iter().product()
}
