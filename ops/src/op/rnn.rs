//! Simple recurrent layer: `h[t] = f(x[t] Wᵀ + h[t - 1] Rᵀ + b)`. Reads ONNX `RNN`, opset 7 to 22.
//!
//! Operands: X `[time, batch, features]` (`layout` 1: batch first), W `[directions, hidden, features]`,
//! R `[directions, hidden, hidden]`, B `[directions, 2 hidden]`, sequence_lens `[batch]`, initial_h
//! `[directions, batch, hidden]`. Results: Y `[time, directions, batch, hidden]`, Y_h `[directions, batch, hidden]`.

use super::read::Reader;
use super::recurrent::{self, Kind, Step};
use crate::OpError;
use crate::graph::Value;

/// Returns the reader of `RNN`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("RNN", 7, |r| {
        recurrent::read(
            r,
            &Kind {
                gates: 1,
                states: 1,
                activations: &["Tanh"],
                recurrent_bias: 0..0,
                rounds_state: false,
                step,
            },
        )
    })]
}

fn step(s: &mut Step) -> Result<Value, OpError> {
    let sum = s.gate(0, s.states[0])?;
    let hidden = s.activate(s.functions[0], sum)?;
    Ok(s.name(hidden, "hidden"))
}
