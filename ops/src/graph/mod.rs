//! The graph container, one for the three vocabularies: model, relevance, program.
//!
//! **Invariant:** only this module knows petgraph. Accessors sort by slot and by node id, so no order depends on the
//! edit history.

mod body;
mod edit;
mod measure;
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

/// A node of a [`Graph`]; meaningless in another graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex<u32>);

impl NodeId {
    /// A dense-ish index, for side tables.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// One output of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The node that makes it.
    pub node: NodeId,
    /// Which of its outputs.
    pub slot: usize,
}

/// How many wires an input slot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanIn {
    /// Exactly one.
    One,
    /// Any number, summed: relevance meets at a value.
    Sum,
}

/// What a graph's nodes may be.
pub trait Vocabulary: PrintOp {
    /// Names of the graph's outputs.
    type Output: Clone + fmt::Debug + fmt::Display + Ord + Hash;
    /// How many wires an input slot takes.
    const FAN_IN: FanIn;
}

/// Where a node comes from: ONNX nodes by name and operator, joined when fused. Never empty after import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `(node name, operator)` of each ONNX node that this node stands for.
    pub nodes: Vec<(String, String)>,
    /// The path of the module that made it, outermost first; `None` where nothing says so.
    pub scope: Option<Vec<String>>,
}

impl Origin {
    /// One ONNX node. A name with slashes is a path: its module, then the node.
    pub fn onnx(name: &str, op: &str) -> Origin {
        let scope = name
            .rsplit_once('/')
            .map(|(path, _)| path.split('/').filter(|part| !part.is_empty()).map(str::to_string).collect());
        Origin { nodes: vec![(name.into(), op.into())], scope }
    }

    /// Both, each node once, in order; of both modules the innermost that has both.
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

    /// The names, comma-separated.
    pub fn names(&self) -> String {
        self.nodes.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The operators, joined by `+`.
    pub fn ops(&self) -> String {
        self.nodes.iter().map(|(_, op)| op.as_str()).collect::<Vec<_>>().join("+")
    }
}

/// A node: an operation, the names and types of its outputs, and its origin.
#[derive(Clone, Debug)]
pub struct Node<O> {
    /// The operation.
    pub op: O,
    /// The name of each output: the ONNX tensor name where the model has one. Unique in the graph.
    pub names: Vec<String>,
    /// The type of each output.
    pub types: Vec<TensorType>,
    /// Where it comes from.
    pub origin: Origin,
}

impl<O> Node<O> {
    /// The name of the first output, which names the node too.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

#[derive(Clone, Copy, Debug)]
struct Wire {
    from: usize,
    to: usize,
}

/// A directed acyclic graph of typed nodes.
#[derive(Clone)]
pub struct Graph<O: Vocabulary> {
    g: StableDiGraph<Node<O>, Wire>,
    inputs: Vec<NodeId>,
    outputs: Vec<(O::Output, Value)>,
    /// Symbols that only a run can bind, with the int64 value of one element that each is.
    measured: Vec<(Arc<str>, Value)>,
    /// Names in use, with the last suffix given to a variant of each.
    names: BTreeMap<String, usize>,
}

impl<O: Vocabulary> Default for Graph<O> {
    fn default() -> Self {
        Graph {
            g: StableDiGraph::default(),
            inputs: vec![],
            outputs: vec![],
            measured: vec![],
            names: BTreeMap::new(),
        }
    }
}

impl<O: Vocabulary> Graph<O> {
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.g.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a node is (still) in the graph.
    pub fn contains(&self, id: NodeId) -> bool {
        self.g.contains_node(id.0)
    }

    /// A node; the id must be of this graph.
    pub fn node(&self, id: NodeId) -> &Node<O> {
        &self.g[id.0]
    }

    /// The op of a node.
    pub fn op(&self, id: NodeId) -> &O {
        &self.g[id.0].op
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> &TensorType {
        &self.g[v.node.0].types[v.slot]
    }

    /// The name of a value.
    pub fn value_name(&self, v: Value) -> &str {
        &self.g[v.node.0].names[v.slot]
    }

    /// All node ids, in id order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.g.node_indices().map(NodeId)
    }

    /// The graph's input nodes, in the model's order.
    pub fn inputs(&self) -> &[NodeId] {
        &self.inputs
    }

    /// The graph's outputs by name, in the model's order.
    pub fn outputs(&self) -> &[(O::Output, Value)] {
        &self.outputs
    }

    /// The value of an output; `None` for an output that the graph does not have.
    pub fn output(&self, name: &O::Output) -> Option<Value> {
        self.outputs.iter().find(|(own, _)| own == name).map(|(_, v)| *v)
    }

    /// The values a node reads, by input slot (and wire age in a summing slot).
    pub fn node_inputs(&self, id: NodeId) -> Vec<Value> {
        self.wires_in(id).into_iter().map(|(_, v)| v).collect()
    }

    /// The values wired into each input slot, with the slot.
    pub fn wires_in(&self, id: NodeId) -> Vec<(usize, Value)> {
        let mut wires: Vec<_> = self
            .g
            .edges_directed(id.0, Direction::Incoming)
            .map(|e| (e.weight().to, e.id(), Value { node: NodeId(e.source()), slot: e.weight().from }))
            .collect();
        wires.sort_by_key(|(to, edge, _)| (*to, *edge));
        wires.into_iter().map(|(to, _, v)| (to, v)).collect()
    }

    /// Who reads a value: node and input slot, sorted.
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

    /// Whether a value is a graph output.
    pub fn is_output(&self, v: Value) -> bool {
        self.outputs.iter().any(|(_, o)| *o == v)
    }

    /// The single reader of a value that is read once and is no graph output.
    pub fn only_consumer(&self, v: Value) -> Option<NodeId> {
        match self.consumers(v).as_slice() {
            [(node, _)] if !self.is_output(v) => Some(*node),
            _ => None,
        }
    }

    /// Finds a value by name.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.g.node_indices().find_map(|n| {
            let slot = self.g[n].names.iter().position(|x| x == name)?;
            Some(Value { node: NodeId(n), slot })
        })
    }

    /// Node ids so that every node stands after those it reads; ties go by id. `None` for a cyclic graph.
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

    /// Topological order of a verified (acyclic) graph.
    pub fn topological(&self) -> Vec<NodeId> {
        self.try_topological().unwrap_or_default()
    }
}

impl<O: Vocabulary> fmt::Debug for Graph<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} nodes)", self.len())
    }
}
