//! ONNX `GRU`, opset 7 to 22.
//!
//! Operands: X `[time, batch, features]` (`layout` 1: batch first), W `[directions, 3 hidden, features]`,
//! R `[directions, 3 hidden, hidden]`, B `[directions, 6 hidden]`, sequence_lens `[batch]`, initial_h
//! `[directions, batch, hidden]`; blocks of rows: update, reset, hidden. Results: Y `[time, directions, batch, hidden]`, Y_h
//! `[directions, batch, hidden]`.

use super::read::{Reader, Reading};
use super::recurrent::{self, Kind, Step};
use super::{Add, Linear, Mul};
use crate::OpError;
use crate::graph::Value;

/// The reader.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("GRU", 7, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    // After the linear map, the reset gate scales the bias too, so it stays with the map.
    let (own_bias, step): (_, fn(&mut Step) -> _) =
        if r.flag("linear_before_reset", false)? { (2..3, reset_after) } else { (0..0, reset_before) };
    recurrent::read(r, &Kind { gates: 3, states: 1, activations: &["Sigmoid", "Tanh"], own_bias, step })
}

fn reset_before(s: &mut Step) -> Result<Value, OpError> {
    let (update, reset) = gates(s)?;
    let kept = s.r.add(Mul, &[reset, s.before[0]])?;
    let sum = s.gate(2, kept)?;
    finish(s, update, sum)
}

fn reset_after(s: &mut Step) -> Result<Value, OpError> {
    let (update, reset) = gates(s)?;
    let operands: Vec<Value> = [s.before[0], s.recurrent[2]].into_iter().chain(s.bias).collect();
    let map = s.r.add(Linear { transposed: true }, &operands)?;
    let kept = s.r.add(Mul, &[reset, map])?;
    let x = s.input(2)?;
    let sum = s.r.add(Add, &[x, kept])?;
    let sum = s.clipped(sum)?;
    finish(s, update, sum)
}

fn gates(s: &mut Step) -> Result<(Value, Value), OpError> {
    let (hidden, f) = (s.before[0], s.functions[0]);
    let gate = |s: &mut Step, i: usize, name: &str| {
        let sum = s.gate(i, hidden)?;
        let made = s.activate(f, sum)?;
        Ok::<Value, OpError>(s.name(made, name))
    };
    Ok((gate(s, 0, "update_gate")?, gate(s, 1, "reset_gate")?))
}

/// `(1 - update) · candidate + update · hidden`.
fn finish(s: &mut Step, update: Value, sum: Value) -> Result<Value, OpError> {
    let candidate = s.activate(s.functions[1], sum)?;
    let candidate = s.name(candidate, "candidate");
    let rest = s.rest(update)?;
    let new = s.r.add(Mul, &[rest, candidate])?;
    let kept = s.r.add(Mul, &[update, s.before[0]])?;
    let hidden = s.r.add(Add, &[new, kept])?;
    Ok(s.name(hidden, "hidden"))
}
