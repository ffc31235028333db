//! Softmax and its logarithm along an axis. Reads `Softmax` and `LogSoftmax`, and `BiasSoftmax` of com.microsoft.

use super::read::{MICROSOFT, Reader, Reading, resolve};
use super::role::Role;
use super::{Add, Operator};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Builder, Reduction, Unary};

/// Softmax along one axis, or its logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// Axis along which the softmax sums to 1, in `0..rank`.
    pub axis: usize,
    /// True for the logarithm of the softmax.
    pub log: bool,
}

impl Operator for Softmax {
    fn attributes(&self) -> String {
        format!(" axis={}{}", self.axis, if self.log { " log" } else { "" })
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let x = inputs[0];
        if !self.log {
            return vec![b.add(prim::Softmax { axis: self.axis }, &[x])];
        }
        let max = b.reduce_keepdims(Reduction::Max, x, &[self.axis]);
        let x = b.minus(x, max);
        let e = b.unary(Unary::Exp, x);
        let sum = b.reduce_keepdims(Reduction::Sum, e, &[self.axis]);
        let log = b.unary(Unary::Log, sum);
        vec![b.minus(x, log)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Elementwise
    }
}

/// Returns the readers of `Softmax` and `LogSoftmax`.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::new("Softmax", 1, |r| read(r, false)),
        Reader::new("LogSoftmax", 1, |r| read(r, true)),
        Reader::of(MICROSOFT, "BiasSoftmax", read_biased),
    ]
}

/// Reads the softmax of a sum, over all axes from `axis` on. The bias broadcasts.
fn read_biased(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, bias) = (r.input(0)?, r.input(1)?);
    let shape = r.ty(x).shape;
    let axis = resolve(r.int_or("axis", 1)?, shape.rank())?;
    // It names the axes along which the bias has dimension 1.
    r.ignore(&["is_inner_broadcast"]);
    let sum = r.add(Add, &[x, bias])?;
    let softmax = |r: &mut Reading, x: Value, axis: usize| r.add(Softmax { axis, log: false }, &[x]);
    if axis + 1 == shape.rank() {
        return Ok(vec![softmax(r, sum, axis)?]);
    }
    let flat = r.flatten(sum, axis)?;
    let y = softmax(r, flat, 1)?;
    Ok(vec![r.reshape(y, shape)?])
}

/// Reads a softmax. Up to opset 12 the operand is flattened to a matrix at `axis` (1 by default); afterwards `axis` (-1
/// by default) is the only axis.
fn read(r: &mut Reading, log: bool) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let shape = r.ty(x).shape;
    if r.opset >= 13 {
        let axis = resolve(r.int_or("axis", -1)?, shape.rank())?;
        return Ok(vec![r.add(Softmax { axis, log }, &[x])?]);
    }
    let axis = resolve(r.int_or("axis", 1)?, shape.rank())?;
    if axis + 1 == shape.rank() {
        return Ok(vec![r.add(Softmax { axis, log }, &[x])?]);
    }
    let flat = r.flatten(x, axis)?;
    let y = r.add(Softmax { axis: 1, log }, &[flat])?;
    Ok(vec![r.reshape(y, shape)?])
}
