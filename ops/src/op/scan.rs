//! A recurrence over time: what `LSTM`, `GRU` and `RNN` read as.
//!
//! Its relevance has no rule of its own: the rules of the step's operators apply step by step, backwards in time.

use super::role::Role;
use super::{Op, Operator};
use crate::graph::{Body, Value};
use crate::prim::{self, Builder, Prim};
use crate::program::Output;

/// `y[t] = body(y[t - 1], x[t] …, captures …)`, over the first axis of the sequences.
///
/// Operands: the state before the first step, the sequences `[time, …]`, captures (read as they are in every step). The
/// result is the state after each step, `[time, …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// A step; its inputs are the state, an element of each sequence, the captures.
    pub body: Body<Op>,
    /// How many sequences.
    pub sequences: usize,
    /// From the last element to the first.
    pub reverse: bool,
}

impl Scan {
    /// Lowers a step whose graph is `make`'s into `b` as a primitive on `inputs`.
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
