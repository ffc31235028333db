//! Reverse-mode differentiation: the vector-Jacobian product of each primitive that computes floats.
//!
//! At a kink the derivative is taken from the side on which the value is constant (`relu'(0) = 0`). Of several equal
//! maxima in a window the first takes the derivative; equal extrema of a reduction share it.

use super::Builder;
use crate::OpError;
use crate::graph::{NodeId, PrintOp, Value};
use crate::tensor::Shape;

/// Builds the adjoints of a node's operands from `r`, the adjoint of its result. An entry is `None` if the result does
/// not depend on the operand differentiably, or if `requested` is false for it.
///
/// # Errors
/// If no derivative is defined for the primitive.
pub fn adjoint(
    b: &mut Builder,
    node: NodeId,
    r: Value,
    requested: &[bool],
) -> Result<Vec<Option<Value>>, OpError> {
    let prim = b.graph().op(node).clone();
    let x = b.graph().node_inputs(node);
    let adjoints = vec![None; x.len()];
    let mut d = Adjoint { b, x, y: Value { node, slot: 0 }, r, requested, adjoints };
    if let Some(prim) = prim.inner() {
        prim.adjoint(&mut d)?;
    }
    Ok(d.adjoints)
}

/// Context in which [`Primitive::adjoint`](super::Primitive::adjoint) builds the adjoints of one node.
pub struct Adjoint<'a> {
    /// Builder of the program.
    pub b: &'a mut Builder,
    /// Operands of the node.
    pub x: Vec<Value>,
    /// Result of the node.
    pub y: Value,
    /// Adjoint of the result, of its shape.
    pub r: Value,
    requested: &'a [bool],
    adjoints: Vec<Option<Value>>,
}

impl Adjoint<'_> {
    /// Returns whether the adjoint of operand `i` is requested.
    pub fn is_requested(&self, i: usize) -> bool {
        self.requested.get(i) == Some(&true)
    }

    /// Returns the shape of operand `i`.
    pub fn shape(&self, i: usize) -> Shape {
        self.b.ty(self.x[i]).shape
    }

    /// Sets the adjoint of operand `i`; `v` has the operand's shape.
    pub fn set(&mut self, i: usize, v: Value) {
        if self.is_requested(i) {
            self.adjoints[i] = Some(v);
        }
    }

    /// Sets the adjoint of operand `i` from `v`, which has the shape to which the operand was broadcast: sums over the
    /// repetitions.
    pub fn set_summed(&mut self, i: usize, v: Value) {
        let to = self.shape(i);
        let v = self.b.sum_to(v, &to);
        self.set(i, v);
    }

    /// Returns `v` where the condition holds, otherwise 0.
    pub fn masked(&mut self, condition: Value, v: Value) -> Value {
        let zero = self.b.scalar_like(0.0, v);
        self.b.select(condition, v, zero)
    }

    /// Returns the error of a primitive without a derivative.
    pub fn unsupported(&self) -> OpError {
        let name = self.b.graph().op(self.y.node).name();
        OpError::unsupported("differentiated primitive", "one with a derivative", name)
    }
}
