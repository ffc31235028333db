//! Recurrences: the step's launches once for each step in time, each with its own places in the sequences.

use std::collections::HashMap;

use dlbc_ops::graph::Value;
use dlbc_ops::prim::{Prim, Scan};
use dlbc_runtime::RuntimeError;

use super::expression::Expression;
use super::{Made, Planner, Scope, View};

impl Planner {
    /// The state after each step, in a new buffer.
    pub(super) fn scan(
        &mut self,
        scan: &Scan,
        operands: Vec<View>,
        dims: &[usize],
    ) -> Result<View, RuntimeError> {
        let graph = scan.body.graph();
        let order = graph.topological();
        let mut uses = HashMap::new();
        for id in &order {
            for v in graph.node_inputs(*id) {
                *uses.entry(v.node).or_insert(0usize) += 1;
            }
        }
        let result = scan.body.result();
        if let Some(v) = result {
            *uses.entry(v.node).or_insert(0) += 1;
        }
        let states = self.buffer(operands[0].kind, dims);
        let mut scope = Scope { uses, ..Scope::new(graph) };
        let mut state = operands[0].clone();
        let steps = dims[0];
        for turn in 0..steps {
            let t = if scan.reverse { steps - 1 - turn } else { turn };
            scope.made.clear();
            for (i, id) in graph.inputs().iter().enumerate() {
                let view = match i {
                    0 => state.clone(),
                    i if i <= scan.sequences => operands[i].at(0, t),
                    i => operands[i].clone(),
                };
                scope.made.insert(Value { node: *id, slot: 0 }, Made::View(view));
            }
            for id in &order {
                if matches!(graph.op(*id), Prim::Input) {
                    continue;
                }
                let made = self.node(&mut scope, *id)?;
                scope.made.insert(Value { node: *id, slot: 0 }, made);
            }
            let place = states.at(0, t);
            match result.and_then(|v| scope.made.get(&v).cloned()) {
                Some(Made::Expression(e)) => self.emit_into(&e, &place, false),
                Some(Made::View(view)) => self.emit_into(&Expression::of(view), &place, false),
                Some(Made::Scores) | None => {}
            }
            state = place;
        }
        Ok(states)
    }
}
