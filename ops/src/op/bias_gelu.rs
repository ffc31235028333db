//! Activations as ONNX Runtime's optimizer writes them: `BiasGelu`, `FastGelu`, `Gelu` and `QuickGelu` of com.microsoft.

use super::read::{MICROSOFT, Reader, Reading};
use super::{Activation, Add, Function};
use crate::OpError;
use crate::graph::Value;

/// Returns the readers of the fused GELU operators.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::of(MICROSOFT, "BiasGelu", |r| read(r, Function::Gelu { tanh: false })),
        Reader::of(MICROSOFT, "FastGelu", |r| read(r, Function::Gelu { tanh: true })),
        Reader::of(MICROSOFT, "Gelu", |r| read(r, Function::Gelu { tanh: false })),
        Reader::of(MICROSOFT, "QuickGelu", |r| {
            let alpha = r.float_or("alpha", 1.702)?;
            read(r, Function::Silu { alpha })
        }),
    ]
}

/// Reads `f(x + bias)`; the bias is optional.
fn read(r: &mut Reading, f: Function) -> Result<Vec<Value>, OpError> {
    let mut x = r.input(0)?;
    if let Some(bias) = r.optional(1) {
        x = r.add(Add, &[x, bias])?;
    }
    Ok(vec![r.add(Activation { f }, &[x])?])
}
