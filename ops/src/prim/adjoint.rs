//! The vector-Jacobian product of every primitive that computes with floats: reverse-mode differentiation.
//!
//! At a kink the derivative is that of the side from which the value does not move (`relu'(0) = 0`); of equal maxima of a
//! window the first counts, of equal extrema of a reduction each its share.

use super::Builder;
use crate::OpError;
use crate::graph::{NodeId, PrintOp, Value};
use crate::tensor::Shape;

/// The adjoints of a node's operands, of their shapes, from `r`, that of its result; `None` where there is none, or where
/// `wanted` does not ask for it.
///
/// # Errors
/// For a primitive that has no derivative here.
pub fn adjoint(
    b: &mut Builder,
    node: NodeId,
    r: Value,
    wanted: &[bool],
) -> Result<Vec<Option<Value>>, OpError> {
    let prim = b.graph().op(node).clone();
    let x = b.graph().node_inputs(node);
    let adjoints = vec![None; x.len()];
    let mut d = Adjoint { b, x, y: Value { node, slot: 0 }, r, wanted, adjoints };
    if let Some(prim) = prim.inner() {
        prim.adjoint(&mut d)?;
    }
    Ok(d.adjoints)
}

/// The derivative of one node while it is built.
pub struct Adjoint<'a> {
    /// The program.
    pub b: &'a mut Builder,
    /// Operands of the node.
    pub x: Vec<Value>,
    /// Result of the node.
    pub y: Value,
    /// Adjoint of the result.
    pub r: Value,
    wanted: &'a [bool],
    adjoints: Vec<Option<Value>>,
}

impl Adjoint<'_> {
    /// Whether the adjoint of operand `i` is asked for.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.get(i) == Some(&true)
    }

    /// The shape of operand `i`.
    pub fn shape(&self, i: usize) -> Shape {
        self.b.ty(self.x[i]).shape
    }

    /// Sets the adjoint of operand `i`, which has its shape.
    pub fn give(&mut self, i: usize, v: Value) {
        if self.wants(i) {
            self.adjoints[i] = Some(v);
        }
    }

    /// Sets the adjoint of operand `i`, which was broadcast to the shape of `v`.
    pub fn give_sum(&mut self, i: usize, v: Value) {
        let to = self.shape(i);
        let v = self.b.sum_to(v, &to);
        self.give(i, v);
    }

    /// `v` where the condition holds, else 0.
    pub fn masked(&mut self, condition: Value, v: Value) -> Value {
        let zero = self.b.scalar_like(0.0, v);
        self.b.select(condition, v, zero)
    }

    /// The error of a primitive without a derivative.
    pub fn unsupported(&self) -> OpError {
        let name = self.b.graph().op(self.y.node).name();
        OpError::Unsupported(format!("the derivative of primitive {name} is not supported"))
    }
}
