//! Reference kernels in float64, int64 and bool: slow and obvious. Every engine is compared with them.
//!
//! Integers wrap. The dimensions of a result come from [`Prim::infer`], which thereby checks each call.

pub(super) mod layout;
pub(super) mod matrix;
mod run;
pub(super) mod taps;

pub use run::{RunError, run};

use super::Prim;
use crate::OpError;
use crate::tensor::{Array, TensorType};

/// Evaluates a primitive other than an input.
///
/// # Errors
/// If the operands do not fit, a dimension is not known, an index is out of range, an integer is divided by 0, or the
/// result is too large.
pub fn eval(prim: &Prim, inputs: &[&Array]) -> Result<Array, OpError> {
    let types: Vec<TensorType> = inputs.iter().map(|x| layout::ty(x)).collect();
    let dims = layout::known_dims(&prim.infer(&types)?.shape.0)?;
    layout::elems(&dims)?;
    match (prim, prim.inner()) {
        (Prim::Const(t), _) => Ok(Array::from_tensor(t)),
        (_, Some(prim)) => prim.evaluate(inputs, &dims),
        (_, None) => Err(OpError::invalid("primitive", "a computation", "an input")),
    }
}
