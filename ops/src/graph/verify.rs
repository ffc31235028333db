//! What holds in every graph between passes:
//!
//! 1. it is acyclic;
//! 2. every node names and types each of its outputs;
//! 3. every wire leaves an output that exists;
//! 4. input slots are `0..n` without a gap, with one wire each unless the vocabulary sums;
//! 5. value names are unique and not empty;
//! 6. every graph output is a value that exists;
//! 7. the types are those that the operation infers from its inputs.

use std::collections::BTreeSet;
use std::fmt;

use super::{FanIn, Graph, NodeId, Value, Vocabulary};
use crate::tensor::TensorType;

/// One violated rule, by its number in this module's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the rule.
    pub rule: u8,
    /// The value or node, and what is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.message)
    }
}

impl<O: Vocabulary> Graph<O> {
    /// Checks rules 1 to 6, and rule 7 through `infer` (`None`: the types of this node are given, not inferred).
    /// Returns every fault.
    pub fn verify(
        &self,
        infer: impl Fn(&Graph<O>, NodeId) -> Option<Result<Vec<TensorType>, String>>,
    ) -> Result<(), Vec<Fault>> {
        let mut faults = vec![];
        let mut fault = |rule: u8, message: String| faults.push(Fault { rule, message });
        if self.try_topological().is_none() {
            fault(1, "the graph has a cycle".into());
        }
        let mut names = BTreeSet::new();
        for id in self.nodes() {
            let node = self.node(id);
            let name = node.name();
            if node.names.len() != node.types.len() || node.names.is_empty() {
                fault(2, format!("`{name}`: {} names for {} outputs", node.names.len(), node.types.len()));
            }
            for n in &node.names {
                if n.is_empty() || !names.insert(n) {
                    fault(5, format!("value name `{n}` is empty or used twice"));
                }
            }
            let mut next = 0;
            for (slot, v) in self.wires_in(id) {
                self.check_value(v, &format!("`{name}` input {slot}"), 3, &mut fault);
                match O::FAN_IN {
                    FanIn::One if slot != next => {
                        fault(4, format!("`{name}`: input {next} expected, found {slot}"))
                    }
                    FanIn::Sum if slot > next => fault(4, format!("`{name}`: input {next} is missing")),
                    _ => {}
                }
                next = slot + 1;
            }
        }
        for (name, v) in self.outputs() {
            self.check_value(*v, &format!("output `{name}`"), 6, &mut fault);
        }
        if faults.is_empty() {
            for id in self.nodes() {
                let types = &self.node(id).types;
                let name = self.node(id).name();
                match infer(self, id) {
                    Some(Ok(inferred)) if inferred != *types => {
                        let show = |t: &[TensorType]| {
                            t.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                        };
                        let message =
                            format!("`{name}`: {} inferred, {} recorded", show(&inferred), show(types));
                        faults.push(Fault { rule: 7, message });
                    }
                    Some(Err(error)) => faults.push(Fault { rule: 7, message: format!("`{name}`: {error}") }),
                    _ => {}
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn check_value(&self, v: Value, what: &str, rule: u8, fault: &mut impl FnMut(u8, String)) {
        let outputs = self.g.node_weight(v.node.0).map_or(0, |n| n.types.len());
        if v.slot >= outputs {
            fault(rule, format!("{what} reads slot {} of a node with {outputs} outputs", v.slot));
        }
    }
}
