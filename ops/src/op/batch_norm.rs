//! Batch normalisation with fixed statistics: `scale · (x - mean) / √(var + epsilon) + bias`, by channel (axis 1).
//!
//! Operands: x `[n, c, …]`, scale, bias, mean, var `[c]`.

use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Unary};
use crate::tensor::{Dim, Shape};

/// Batch normalisation with fixed statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Constant added to the variance.
    pub epsilon: f32,
}

impl Operator for BatchNorm {
    fn attributes(&self) -> String {
        format!(" epsilon={:e}", self.epsilon)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let x = inputs[0];
        let mut shape = vec![Dim::known(1); b.ty(x).rank()];
        if let Some(c) = shape.get_mut(1) {
            *c = b.ty(x).dim(1).clone();
        }
        let shape = Shape(shape);
        let p: Vec<Value> = inputs[1..].iter().map(|v| b.reshape(*v, &shape)).collect();
        let eps = b.scalar_like(f64::from(self.epsilon), x);
        let var = b.plus(p[3], eps);
        let std = b.unary(Unary::Sqrt, var);
        let factor = b.binary(Binary::Div, p[0], std);
        let shift = b.mul(p[2], factor);
        let shift = b.minus(p[1], shift);
        let y = b.mul(x, factor);
        vec![b.plus(y, shift)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Normalize
    }
}

/// Returns the reader of `BatchNormalization`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("BatchNormalization", 1, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    r.ignore(&["momentum", "spatial", "consumed_inputs", "is_test"]);
    if r.flag("training_mode", false)? {
        return Err(OpError::unsupported("training_mode", 0, 1));
    }
    if r.outputs > 1 {
        return Err(OpError::unsupported_output("running_mean"));
    }
    let epsilon = r.float_or("epsilon", 1e-5)?;
    let inputs = [r.input(0)?, r.input(1)?, r.input(2)?, r.input(3)?, r.input(4)?];
    if r.ty(inputs[0]).rank() < 2 {
        return Err(OpError::mismatch("rank of the operand", "at least 2", r.ty(inputs[0])));
    }
    Ok(vec![r.add(BatchNorm { epsilon }, &inputs)?])
}
