//! Invariants of every graph between passes, checked by [`Graph::verify`]:
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

/// Violation of an invariant of graphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Number of the invariant in the list of this module.
    pub invariant: u8,
    /// Name of the value or node, and the problem.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.invariant, self.message)
    }
}

impl<O: Vocabulary> Graph<O> {
    /// Checks invariants 1 to 6, and invariant 7 with `infer`, which returns `None` for nodes whose types are declared,
    /// not inferred.
    ///
    /// # Errors
    /// All violations.
    pub fn verify(
        &self,
        infer: impl Fn(&Graph<O>, NodeId) -> Option<Result<Vec<TensorType>, String>>,
    ) -> Result<(), Vec<Fault>> {
        let mut faults = vec![];
        let mut fault = |invariant: u8, message: String| faults.push(Fault { invariant, message });
        if self.try_topological().is_none() {
            fault(1, "the graph has a cycle".into());
        }
        let mut names = BTreeSet::new();
        for id in self.nodes() {
            let node = self.node(id);
            let name = node.name();
            if node.names.len() != node.types.len() || node.names.is_empty() {
                fault(
                    2,
                    format!(
                        "`{name}`: expected a name for each of {} outputs, found {}",
                        node.types.len(),
                        node.names.len()
                    ),
                );
            }
            for n in &node.names {
                if n.is_empty() || !names.insert(n) {
                    fault(5, format!("name `{n}` of a value: expected a name that no other value has"));
                }
            }
            let mut next = 0;
            for (slot, v) in self.wires_in(id) {
                self.check_value(v, &format!("`{name}` input {slot}"), 3, &mut fault);
                match O::FAN_IN {
                    FanIn::One if slot != next => {
                        fault(4, format!("`{name}`: expected input {next}, found {slot}"))
                    }
                    FanIn::Sum if slot > next => {
                        fault(4, format!("`{name}`: expected input {next}, found {slot}"))
                    }
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
                            format!("`{name}`: expected type {}, found {}", show(&inferred), show(types));
                        faults.push(Fault { invariant: 7, message });
                    }
                    Some(Err(error)) => {
                        faults.push(Fault { invariant: 7, message: format!("`{name}`: {error}") })
                    }
                    _ => {}
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn check_value(&self, v: Value, reader: &str, invariant: u8, fault: &mut impl FnMut(u8, String)) {
        let outputs = self.g.node_weight(v.node.0).map_or(0, |n| n.types.len());
        if v.slot >= outputs {
            fault(invariant, format!("{reader}: expected a slot below {outputs}, found {}", v.slot));
        }
    }
}
