//! Long short-term memory. Reads ONNX `LSTM`, opset 7 to 22.
//!
//! Operands: X `[time, batch, features]` (`layout` 1: batch first), W `[directions, 4 hidden, features]`, R
//! `[directions, 4 hidden, hidden]`, B `[directions, 8 hidden]`, sequence_lens `[batch]`, initial_h and initial_c
//! `[directions, batch, hidden]`, P `[directions, 3 hidden]` (peepholes of input, output and forget gate: weights of the cell).
//! Blocks of rows: input, output, forget, cell. Results: Y
//! `[time, directions, batch, hidden]`, Y_h and Y_c `[directions, batch, hidden]`.

use super::read::{Reader, Reading};
use super::recurrent::{self, Kind, Step};
use super::{Add, Concat, Mul};
use crate::OpError;
use crate::graph::Value;

/// Returns the reader of `LSTM`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("LSTM", 7, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    read_layer(r, false)
}

/// Reads the layer; `rounds_state` says whether each step rounds the hidden state to 8 bits.
pub(super) fn read_layer(r: &mut Reading, rounds_state: bool) -> Result<Vec<Value>, OpError> {
    let step = if r.flag("input_forget", false)? { coupled } else { step };
    let activations = &["Sigmoid", "Tanh", "Tanh"];
    recurrent::read(r, &Kind { gates: 4, states: 2, activations, recurrent_bias: 0..0, rounds_state, step })
}

/// Builds a step with a forget gate of its own.
fn step(s: &mut Step) -> Result<Value, OpError> {
    next(s, false)
}

/// Builds a step whose forget gate is 1 minus the input gate.
fn coupled(s: &mut Step) -> Result<Value, OpError> {
    next(s, true)
}

/// Builds the next state, `[batch, 2 hidden]`: hidden state, then cell state.
fn next(s: &mut Step, coupled: bool) -> Result<Value, OpError> {
    let (hidden, cell) = (s.states[0], s.states[1]);
    let (f, g, h) = (s.functions[0], s.functions[1], s.functions[2]);
    let gate = |s: &mut Step, i: usize, f, cell: Option<Value>, name: &str| {
        let sum = s.sum(i, hidden)?;
        let sum = match cell {
            Some(cell) => s.add_peephole(sum, i, cell)?,
            None => sum,
        };
        let sum = s.clipped(sum)?;
        let gate = s.activate(f, sum)?;
        Ok::<Value, OpError>(s.name(gate, name))
    };
    let input = gate(s, 0, f, Some(cell), "input_gate")?;
    let candidate = gate(s, 3, g, None, "candidate")?;
    let forget = if coupled { s.complement(input)? } else { gate(s, 2, f, Some(cell), "forget_gate")? };
    let from_cell = s.r.add(Mul, &[forget, cell])?;
    let from_candidate = s.r.add(Mul, &[input, candidate])?;
    let cell = s.r.add(Add, &[from_cell, from_candidate])?;
    let cell = s.name(cell, "cell");
    let output = gate(s, 1, f, Some(cell), "output_gate")?;
    let activated = s.activate(h, cell)?;
    let hidden = s.r.add(Mul, &[output, activated])?;
    let hidden = s.name(hidden, "hidden");
    s.r.add(Concat { axis: 1 }, &[hidden, cell])
}
