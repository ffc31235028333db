//! The text form. Constants print as `#name: type`, never as values.

use std::fmt::{self, Write};

use super::{Graph, Value, Vocabulary};

/// How an operation prints.
pub trait PrintOp {
    /// The operation's name.
    fn name(&self) -> String;
    /// ` key=value …`, empty when there are no attributes.
    fn attributes(&self) -> String;
    /// Whether this is a constant, which prints where it is read.
    fn is_const(&self) -> bool;
}

impl<O: Vocabulary> Graph<O> {
    /// A value as an operand: `#name: type` for a constant, else its name.
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
