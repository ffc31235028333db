//! Lowering of graphs of operators to primitives.

use std::collections::{HashMap, HashSet};

use super::Op;
use crate::OpError;
use crate::graph::{Graph, NodeId, Value};
use crate::prim::Builder;

impl Graph<Op> {
    /// Lowers every node, inputs first and in their order. Returns the lowered value of each value.
    ///
    /// # Errors
    /// The first node that cannot be lowered, with the reason.
    pub fn lower(&self, b: &mut Builder) -> Result<HashMap<Value, Value>, (NodeId, OpError)> {
        let mut values: HashMap<Value, Value> = HashMap::new();
        // Lowered values that have a tensor's name. If two nodes lower to the same value, it keeps the first name.
        let mut named: HashSet<Value> = HashSet::new();
        // Inputs come first and in their order, because they are the program's signature.
        for id in self.inputs() {
            let v = Value { node: *id, slot: 0 };
            b.set_origin(&self.node(*id).origin, self.node(*id).name());
            let input = b.input(self.node(*id).name(), self.ty(v).clone());
            named.insert(input);
            values.insert(v, input);
        }
        for id in self.topological() {
            let node = self.node(id);
            b.set_origin(&node.origin, node.name());
            let lowered = match &node.op {
                Op::Input => continue,
                Op::Const(t) => {
                    let constant = b.constant(node.name(), t.clone());
                    named.insert(constant);
                    vec![constant]
                }
                op => {
                    let inputs: Vec<Value> = self.node_inputs(id).iter().map(|v| values[v]).collect();
                    let before = b.graph().len();
                    let outputs = op.lower(b, &inputs);
                    b.ok().map_err(|source| (id, source))?;
                    for (slot, v) in outputs.iter().enumerate() {
                        // A node that added nothing is an alias of its operand, which keeps its name.
                        if b.graph().len() > before && named.insert(*v) {
                            b.graph_mut().rename(*v, &node.names[slot]);
                        }
                    }
                    outputs
                }
            };
            for (slot, v) in lowered.into_iter().enumerate() {
                values.insert(Value { node: id, slot }, v);
            }
        }
        Ok(values)
    }
}
