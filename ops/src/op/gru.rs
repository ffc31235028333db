//! Gated recurrent unit. Reads ONNX `GRU`, opset 7 to 22.
//!
//! Operands: X `[time, batch, features]` (`layout` 1: batch first), W `[directions, 3 hidden, features]`, R
//! `[directions, 3 hidden, hidden]`, B `[directions, 6 hidden]`, sequence_lens `[batch]`, initial_h
//! `[directions, batch, hidden]`. Blocks of rows: update, reset, hidden. Results: Y
//! `[time, directions, batch, hidden]`, Y_h `[directions, batch, hidden]`.

use super::read::{Reader, Reading};
use super::recurrent::{self, Kind, Step};
use super::{Add, Linear, Mul};
use crate::OpError;
use crate::graph::Value;

/// Returns the reader of `GRU`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("GRU", 7, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    // With `linear_before_reset` the reset gate also scales the bias, which therefore stays in the recurrent product.
    let (recurrent_bias, step): (_, fn(&mut Step) -> _) =
        if r.flag("linear_before_reset", false)? { (2..3, reset_after) } else { (0..0, reset_before) };
    let activations = &["Sigmoid", "Tanh"];
    recurrent::read(r, &Kind { gates: 3, states: 1, activations, recurrent_bias, rounds_state: false, step })
}

/// Applies the reset gate to the state before the recurrent product.
fn reset_before(s: &mut Step) -> Result<Value, OpError> {
    let (update, reset) = gates(s)?;
    let state = s.r.add(Mul, &[reset, s.states[0]])?;
    let sum = s.gate(2, state)?;
    finish(s, update, sum)
}

/// Applies the reset gate to the recurrent product and its bias.
fn reset_after(s: &mut Step) -> Result<Value, OpError> {
    let (update, reset) = gates(s)?;
    let operands: Vec<Value> = [s.states[0], s.recurrent[2]].into_iter().chain(s.bias).collect();
    let product = s.r.add(Linear { transposed: true }, &operands)?;
    let product = s.r.add(Mul, &[reset, product])?;
    let x = s.input(2)?;
    let sum = s.r.add(Add, &[x, product])?;
    let sum = s.clipped(sum)?;
    finish(s, update, sum)
}

/// Builds the update and the reset gate.
fn gates(s: &mut Step) -> Result<(Value, Value), OpError> {
    let (hidden, f) = (s.states[0], s.functions[0]);
    let gate = |s: &mut Step, i: usize, name: &str| {
        let sum = s.gate(i, hidden)?;
        let gate = s.activate(f, sum)?;
        Ok::<Value, OpError>(s.name(gate, name))
    };
    Ok((gate(s, 0, "update_gate")?, gate(s, 1, "reset_gate")?))
}

/// Builds the next state `(1 - update) · candidate + update · hidden`.
fn finish(s: &mut Step, update: Value, sum: Value) -> Result<Value, OpError> {
    let candidate = s.activate(s.functions[1], sum)?;
    let candidate = s.name(candidate, "candidate");
    let complement = s.complement(update)?;
    let from_candidate = s.r.add(Mul, &[complement, candidate])?;
    let from_state = s.r.add(Mul, &[update, s.states[0]])?;
    let hidden = s.r.add(Add, &[from_candidate, from_state])?;
    Ok(s.name(hidden, "hidden"))
}
