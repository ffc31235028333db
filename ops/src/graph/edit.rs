//! Edits of graphs. They keep wires, names and outputs consistent; cycles and types are checked by [`Graph::verify`].

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use super::{Graph, Node, NodeId, Origin, Value, Vocabulary, Wire};
use crate::tensor::TensorType;

impl<O: Vocabulary> Graph<O> {
    /// Adds a node that reads `inputs`. Output names that are in use get a suffix.
    pub fn add(&mut self, mut node: Node<O>, inputs: &[Value]) -> NodeId {
        for name in &mut node.names {
            *name = self.unique(name);
        }
        let id = NodeId(self.g.add_node(node));
        for (to, v) in inputs.iter().enumerate() {
            self.wire(*v, id, to);
        }
        id
    }

    /// Adds a node with one output and returns that output.
    pub fn add_value(
        &mut self,
        op: O,
        name: &str,
        ty: TensorType,
        origin: Origin,
        inputs: &[Value],
    ) -> Value {
        let node = self.add(Node { op, names: vec![name.into()], types: vec![ty], origin }, inputs);
        Value { node, slot: 0 }
    }

    /// Adds a graph input.
    pub fn add_input(&mut self, op: O, name: &str, ty: TensorType) -> Value {
        let v = self.add_value(op, name, ty, Origin::onnx(name, "input"), &[]);
        self.inputs.push(v.node);
        v
    }

    /// Adds a wire from a value to input slot `to` of a node.
    pub fn wire(&mut self, from: Value, node: NodeId, to: usize) {
        self.g.add_edge(from.node.0, node.0, Wire { from: from.slot, to });
    }

    /// Adds a graph output with the given name.
    pub fn add_output(&mut self, name: impl Into<O::Output>, v: Value) {
        self.outputs.push((name.into(), v));
    }

    /// Replaces all graph outputs.
    pub fn set_outputs(&mut self, outputs: Vec<(O::Output, Value)>) {
        self.outputs = outputs;
    }

    /// Returns a node for editing. Names are changed with [`Graph::rename`] only.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node<O> {
        &mut self.g[id.0]
    }

    /// Renames a value; the name gets a suffix if it is in use.
    pub fn rename(&mut self, v: Value, name: &str) {
        let old = std::mem::take(&mut self.g[v.node.0].names[v.slot]);
        self.names.remove(&old);
        let name = self.unique(name);
        self.g[v.node.0].names[v.slot] = name;
    }

    /// Replaces the operands of a node.
    pub fn set_inputs(&mut self, id: NodeId, inputs: &[Value]) {
        let old: Vec<_> = self.g.edges_directed(id.0, Direction::Incoming).map(|e| e.id()).collect();
        for e in old {
            self.g.remove_edge(e);
        }
        for (to, v) in inputs.iter().enumerate() {
            self.wire(*v, id, to);
        }
    }

    /// Replaces `old` by `new` in every reader, graph output and data-dependent dimension, except in the node that
    /// computes `new`.
    pub fn replace(&mut self, old: Value, new: Value) {
        let wires: Vec<_> = self
            .g
            .edges_directed(old.node.0, Direction::Outgoing)
            .filter(|e| e.weight().from == old.slot && e.target() != new.node.0)
            .map(|e| (e.id(), NodeId(e.target()), e.weight().to))
            .collect();
        for (edge, node, to) in wires {
            self.g.remove_edge(edge);
            self.wire(new, node, to);
        }
        for (_, v) in &mut self.outputs {
            if *v == old {
                *v = new;
            }
        }
        for (_, v) in &mut self.data_dependent {
            if *v == old {
                *v = new;
            }
        }
    }

    /// Removes graph inputs that no node reads and that are not graph outputs.
    pub fn remove_unused_inputs(&mut self) {
        for id in self.inputs.clone() {
            let v = Value { node: id, slot: 0 };
            if self.consumers(v).is_empty() && !self.is_output(v) {
                self.remove(id);
            }
        }
    }

    /// Turns a node into a graph input with operation `op` and removes its operands.
    pub fn make_input(&mut self, id: NodeId, op: O) {
        self.set_inputs(id, &[]);
        self.g[id.0].op = op;
        self.inputs.push(id);
    }

    /// Removes a node and all its wires.
    pub fn remove(&mut self, id: NodeId) {
        if let Some(node) = self.g.remove_node(id.0) {
            for name in node.names {
                self.names.remove(&name);
            }
        }
        self.inputs.retain(|n| *n != id);
    }

    /// Removes all nodes on which no graph output and no data-dependent dimension depends; graph inputs stay. Returns
    /// the number of removed nodes.
    pub fn remove_unused(&mut self) -> usize {
        let mut needed = vec![false; self.g.node_indices().last().map_or(0, |n| n.index() + 1)];
        let mut stack: Vec<NodeId> =
            self.outputs.iter().map(|(_, v)| v.node).chain(self.inputs.clone()).collect();
        stack.extend(self.data_dependent.iter().map(|(_, v)| v.node));
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut needed[id.index()], true) {
                stack.extend(self.node_inputs(id).into_iter().map(|v| v.node));
            }
        }
        let unused: Vec<NodeId> = self.nodes().filter(|n| !needed[n.index()]).collect();
        for id in &unused {
            self.remove(*id);
        }
        unused.len()
    }

    fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_string();
        // Counting from the last suffix keeps the cost linear for many nodes of the same name.
        while candidate.is_empty() || self.names.contains_key(&candidate) {
            let n = self.names.entry(name.to_string()).or_insert(0);
            *n += 1;
            candidate = format!("{name}.{n}");
        }
        self.names.insert(candidate.clone(), 0);
        candidate
    }
}
