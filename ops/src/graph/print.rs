//! Text form of graphs. Constants are printed as `#name: type`, without their values.

use std::fmt::{self, Write};

use super::{Graph, Value, Vocabulary};

/// Text form of an operation.
pub trait PrintOp {
    /// Returns the name of the operation.
    fn name(&self) -> String;
    /// Returns ` key=value …`, or an empty string without attributes.
    fn attributes(&self) -> String;
    /// Returns whether the node is a constant, which is printed in place where it is read.
    fn is_const(&self) -> bool;
}

impl<O: Vocabulary> Graph<O> {
    /// Returns the text of a value as an operand: `#name: type` for a constant, otherwise its name.
    pub fn operand(&self, v: Value) -> String {
        if self.op(v.node).is_const() {
            format!("#{}: {}", self.value_name(v), self.ty(v))
        } else {
            self.value_name(v).to_string()
        }
    }
}

impl<O: Vocabulary> fmt::Display for Graph<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<String> = self
            .inputs()
            .iter()
            .map(|&node| {
                let v = Value { node, slot: 0 };
                format!("{}: {}", self.value_name(v), self.ty(v))
            })
            .collect();
        let outputs: Vec<String> = self
            .outputs()
            .iter()
            .map(|(name, v)| {
                let value = self.value_name(*v);
                let name = name.to_string();
                if value == name { name } else { format!("{name} = {value}") }
            })
            .collect();
        writeln!(f, "graph ({}) -> ({}) {{", inputs.join(", "), outputs.join(", "))?;
        for id in self.topological() {
            let node = self.node(id);
            if node.op.is_const() || self.inputs().contains(&id) {
                continue;
            }
            let mut line = String::new();
            let operands: Vec<String> = self.node_inputs(id).iter().map(|v| self.operand(*v)).collect();
            let types: Vec<String> = node.types.iter().map(ToString::to_string).collect();
            write!(line, "  {} = {}({})", node.names.join(", "), node.op.name(), operands.join(", "))?;
            write!(line, "{} : {}", node.op.attributes(), types.join(", "))?;
            if node.origin.nodes.len() > 1 {
                write!(line, "   // from {}", node.origin.names())?;
            }
            writeln!(f, "{line}")?;
        }
        writeln!(f, "}}")
    }
}
