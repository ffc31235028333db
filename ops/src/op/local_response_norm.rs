//! Local response normalisation across channels: `x / (bias + alpha/size · Σ x²)^beta`, summed over `size` neighbouring
//! channels. Reads `LRN`.

use super::Operator;
use super::read::Reader;
use super::role::Role;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Window};
use crate::tensor::{Dim, Shape};

/// Local response normalisation of x `[n, c, …]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalResponseNorm {
    /// Number of channels in a window.
    pub size: usize,
    /// Factor of the mean square.
    pub alpha: f32,
    /// Exponent of the denominator.
    pub beta: f32,
    /// Constant added to the scaled mean square.
    pub bias: f32,
}

impl Operator for LocalResponseNorm {
    fn attributes(&self) -> String {
        format!(" size={} alpha={} beta={} bias={}", self.size, self.alpha, self.beta, self.bias)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let x = inputs[0];
        let shape = b.ty(x).shape;
        let square = b.mul(x, x);
        // Channels become the only spatial axis of a window sum.
        let inner = shape.0[2..].iter().fold(Dim::known(1), |n, d| &n * d);
        let flat =
            b.reshape(square, &Shape(vec![shape.0[0].clone(), Dim::known(1), shape.0[1].clone(), inner]));
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        let window =
            Window { before: vec![before, 0], after: vec![after, 0], ..Window::unit(&[self.size, 1]) };
        let sum = b.window_sum(&window, flat);
        let sum = b.reshape(sum, &shape);
        let mean = b.scale(sum, f64::from(self.alpha) / self.size as f64);
        let bias = b.scalar_like(f64::from(self.bias), x);
        let base = b.plus(mean, bias);
        let beta = b.scalar_like(f64::from(self.beta), x);
        let power = b.binary(Binary::Pow, base, beta);
        vec![b.binary(Binary::Div, x, power)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Normalize
    }
}

/// Returns the reader of `LRN`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("LRN", 1, |r| {
        let x = r.input(0)?;
        let expected = "at least 1 and below 2^20";
        let size = r.int("size")?.ok_or_else(|| OpError::missing_attribute("size", expected))?;
        let size = usize::try_from(size)
            .ok()
            .filter(|s| (1..1 << 20).contains(s))
            .ok_or_else(|| OpError::invalid("size", expected, size))?;
        if r.ty(x).rank() < 3 {
            return Err(OpError::mismatch("rank of the operand", "at least 3", r.ty(x)));
        }
        let (alpha, beta, bias) =
            (r.float_or("alpha", 1e-4)?, r.float_or("beta", 0.75)?, r.float_or("bias", 1.0)?);
        Ok(vec![r.add(LocalResponseNorm { size, alpha, beta, bias }, &[x])?])
    })]
}
