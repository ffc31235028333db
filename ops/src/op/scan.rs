//! Recurrence over time, as which `LSTM`, `GRU` and `RNN` are read.
//!
//! No rule is applied to the recurrence as a whole: the rules of the step's operators apply step by step, backwards in
//! time.

use super::role::Role;
use super::{Op, Operator};
use crate::graph::{Body, Value};
use crate::prim::{self, Builder, Prim};
use crate::program::Output;

/// Recurrence over the first axis of its sequences: `y[t] = body(y[t - 1], x[t] …, captures …)`.
///
/// Operands: the state before the first step, the sequences `[time, …]`, and captures, which every step reads. The
/// result is the state after each step, `[time, …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Graph of a step; its inputs are the state, an element of each sequence, and the captures.
    pub body: Body<Op>,
    /// Number of sequences.
    pub sequences: usize,
    /// True if the steps run from the last element to the first.
    pub reverse: bool,
}

impl Scan {
    /// Adds a scan primitive to `b`, from the lowered graph of a step and its operands. Constants of the step become
    /// captures.
    pub fn lower_step(
        b: &mut Builder,
        step: Builder,
        inputs: &[Value],
        sequences: usize,
        reverse: bool,
    ) -> Value {
        let (scan, constants) = prim::Scan::from_step(step.finish(), sequences, reverse);
        let captured = constants.into_iter().map(|(name, t)| b.constant(&name, t));
        let operands: Vec<Value> = inputs.iter().copied().chain(captured.collect::<Vec<_>>()).collect();
        b.add(Prim::Scan(scan), &operands)
    }
}

impl Operator for Scan {
    fn attributes(&self) -> String {
        let way = if self.reverse { " reverse" } else { "" };
        format!(" sequences={}{way}", self.sequences)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let mut step = Builder::new();
        let values = match self.body.graph().lower(&mut step) {
            Ok(values) => values,
            Err((_, error)) => {
                b.fail(error);
                return vec![inputs[0]];
            }
        };
        if let Some(next) = self.body.result() {
            step.graph_mut().add_output(Output::value("next"), values[&next]);
        }
        vec![Scan::lower_step(b, step, inputs, self.sequences, self.reverse)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Recurrence
    }
}
