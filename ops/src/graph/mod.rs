//! Graph container, shared by the three vocabularies: operators, relevance rules and primitives.
//!
//! **Invariant:** only this module uses petgraph. Accessors sort by slot and by node id, so their order never depends
//! on the history of edits.

mod body;
mod data_dependent;
mod edit;
mod print;
mod verify;

pub use body::Body;
pub use print::PrintOp;
pub use verify::Fault;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::tensor::TensorType;

/// Identifier of a node, valid in the graph that returned it and in clones of that graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex<u32>);

impl NodeId {
    /// Returns the index of the node, for side tables. Indices of removed nodes are not reused.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// Output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The node that computes the value.
    pub node: NodeId,
    /// Index among the node's outputs.
    pub slot: usize,
}

/// Number of wires that an input slot accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanIn {
    /// Exactly one wire.
    One,
    /// Any number of wires, whose values are summed: relevance from several readers of a value adds up.
    Sum,
}

/// Set of operations that the nodes of a graph may have.
pub trait Vocabulary: PrintOp {
    /// Name of a graph output.
    type Output: Clone + fmt::Debug + fmt::Display + Ord + Hash;
    /// Number of wires that an input slot accepts.
    const FAN_IN: FanIn;
}

/// Source of a node in the ONNX model. A node that a pass fused has the sources of all its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `(node name, operator)` of each ONNX node that this node stands for. Not empty after import.
    pub nodes: Vec<(String, String)>,
    /// Path of the module that the node belongs to, outermost first; `None` if the model does not say.
    pub scope: Option<Vec<String>>,
}

impl Origin {
    /// Creates the origin of one ONNX node. A name with slashes is read as the module's path and the node's own name.
    pub fn onnx(name: &str, op: &str) -> Origin {
        let scope = name
            .rsplit_once('/')
            .map(|(path, _)| path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect());
        Origin { nodes: vec![(name.into(), op.into())], scope }
    }

    /// Merges two origins: the nodes of both without repetition, and the innermost module that contains both.
    pub fn join(&self, other: &Origin) -> Origin {
        let mut nodes = self.nodes.clone();
        for n in &other.nodes {
            if !nodes.contains(n) {
                nodes.push(n.clone());
            }
        }
        let scope = match (&self.scope, &other.scope) {
            (Some(a), Some(b)) => {
                let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                Some(a[..common].to_vec())
            }
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Origin { nodes, scope }
    }

    /// Returns the node names, separated by commas.
    pub fn names(&self) -> String {
        self.nodes.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the operators, joined by `+`.
    pub fn ops(&self) -> String {
        self.nodes.iter().map(|(_, op)| op.as_str()).collect::<Vec<_>>().join("+")
    }
}

/// Node of a graph: an operation with the names and types of its outputs.
#[derive(Clone, Debug)]
pub struct Node<O> {
    /// The operation.
    pub op: O,
    /// Name of each output, unique in the graph: the ONNX tensor name if the model has one.
    pub names: Vec<String>,
    /// Type of each output.
    pub types: Vec<TensorType>,
    /// ONNX nodes that the node stands for.
    pub origin: Origin,
}

impl<O> Node<O> {
    /// Returns the name of the first output, which also identifies the node.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

#[derive(Clone, Copy, Debug)]
struct Wire {
    from: usize,
    to: usize,
}

/// Directed acyclic graph of typed nodes with named inputs and outputs.
#[derive(Clone)]
pub struct Graph<O: Vocabulary> {
    g: StableDiGraph<Node<O>, Wire>,
    inputs: Vec<NodeId>,
    outputs: Vec<(O::Output, Value)>,
    /// Symbol of each data-dependent dimension, with the int64 value of one element that it equals in a run.
    data_dependent: Vec<(Arc<str>, Value)>,
    /// Names in use, each with the last suffix that was appended to it.
    names: BTreeMap<String, usize>,
}

impl<O: Vocabulary> Default for Graph<O> {
    fn default() -> Self {
        Graph {
            g: StableDiGraph::default(),
            inputs: vec![],
            outputs: vec![],
            data_dependent: vec![],
            names: BTreeMap::new(),
        }
    }
}

impl<O: Vocabulary> Graph<O> {
    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.g.node_count()
    }

    /// Returns whether the graph has no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the graph still has the node.
    pub fn contains(&self, id: NodeId) -> bool {
        self.g.contains_node(id.0)
    }

    /// Returns a node of this graph.
    pub fn node(&self, id: NodeId) -> &Node<O> {
        &self.g[id.0]
    }

    /// Returns the operation of a node.
    pub fn op(&self, id: NodeId) -> &O {
        &self.g[id.0].op
    }

    /// Returns the type of a value.
    pub fn ty(&self, v: Value) -> &TensorType {
        &self.g[v.node.0].types[v.slot]
    }

    /// Returns the name of a value.
    pub fn value_name(&self, v: Value) -> &str {
        &self.g[v.node.0].names[v.slot]
    }

    /// Iterates over the nodes in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.g.node_indices().map(NodeId)
    }

    /// Returns the input nodes, in the model's order.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// Returns the outputs with their names, in the model's order.
    pub fn outputs(&self) -> &[(O::Output, Value)] {
        &self.outputs
    }

    /// Returns the value of an output; `None` if the graph does not have it.
    pub fn output(&self, name: &O::Output) -> Option<Value> {
        self.outputs.iter().find(|(output, _)| output == name).map(|(_, v)| *v)
    }

    /// Returns the values that a node reads, by input slot; wires of a summing slot are in the order of their creation.
    pub fn node_inputs(&self, id: NodeId) -> Vec<Value> {
        self.wires_in(id).into_iter().map(|(_, v)| v).collect()
    }

    /// Returns `(input slot, value)` of each wire into a node, in the order of [`Graph::node_inputs`].
    pub fn wires_in(&self, id: NodeId) -> Vec<(usize, Value)> {
        let mut wires: Vec<_> = self
            .g
            .edges_directed(id.0, Direction::Incoming)
            .map(|e| (e.weight().to, e.id(), Value { node: NodeId(e.source()), slot: e.weight().from }))
            .collect();
        wires.sort_by_key(|(to, edge, _)| (*to, *edge));
        wires.into_iter().map(|(to, _, v)| (to, v)).collect()
    }

    /// Returns `(node, input slot)` of each reader of a value, sorted.
    pub fn consumers(&self, v: Value) -> Vec<(NodeId, usize)> {
        let mut readers: Vec<_> = self
            .g
            .edges_directed(v.node.0, Direction::Outgoing)
            .filter(|e| e.weight().from == v.slot)
            .map(|e| (NodeId(e.target()), e.weight().to))
            .collect();
        readers.sort();
        readers
    }

    /// Returns whether a value is a graph output.
    pub fn is_output(&self, v: Value) -> bool {
        self.outputs.iter().any(|(_, o)| *o == v)
    }

    /// Returns the reader of a value that is read exactly once and not a graph output.
    pub fn only_consumer(&self, v: Value) -> Option<NodeId> {
        match self.consumers(v).as_slice() {
            [(node, _)] if !self.is_output(v) => Some(*node),
            _ => None,
        }
    }

    /// Returns the value with this name.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.g.node_indices().find_map(|n| {
            let slot = self.g[n].names.iter().position(|x| x == name)?;
            Some(Value { node: NodeId(n), slot })
        })
    }

    /// Returns the nodes in topological order, nodes of equal rank by id; `None` if the graph has a cycle.
    pub fn try_topological(&self) -> Option<Vec<NodeId>> {
        let mut missing: BTreeMap<NodeIndex<u32>, usize> = BTreeMap::new();
        let mut ready = BinaryHeap::new();
        for n in self.g.node_indices() {
            let count = self.g.edges_directed(n, Direction::Incoming).count();
            missing.insert(n, count);
            if count == 0 {
                ready.push(Reverse(n));
            }
        }
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(n)) = ready.pop() {
            order.push(NodeId(n));
            for e in self.g.edges_directed(n, Direction::Outgoing) {
                if let Some(count) = missing.get_mut(&e.target()) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(Reverse(e.target()));
                    }
                }
            }
        }
        (order.len() == self.len()).then_some(order)
    }

    /// Returns the nodes of a verified graph in topological order; empty if the graph has a cycle.
    pub fn topological(&self) -> Vec<NodeId> {
        self.try_topological().unwrap_or_default()
    }
}

impl<O: Vocabulary> fmt::Debug for Graph<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} nodes)", self.len())
    }
}
