//! Interface that every primitive implements, and the imports that its file begins with.

pub(super) use std::ops::RangeInclusive;

pub(super) use serde::{Deserialize, Serialize};

pub(super) use super::adjoint::Adjoint;
pub(super) use super::batch::TargetAxis;
pub(super) use super::builder::Builder;
pub(super) use super::check::*;
pub(super) use super::fields::{Field, Fields, fields};
pub(super) use super::knowledge::Knowledge;
pub(super) use super::sign::Signs;
pub(super) use crate::OpError;
pub(super) use crate::graph::Value;
pub(super) use crate::tensor::{Array, DType, Dim, Shape, TensorType};

/// Interface of a primitive other than inputs and constants: everything that determines its result.
///
/// Methods that determine a result have no default. The defaults of the others are always correct, but may cost speed.
pub trait Primitive: Fields {
    /// Returns the range of the number of operands.
    fn arity(&self) -> RangeInclusive<usize>;

    /// Infers the type of the result from the types of the operands, whose number is in [`Primitive::arity`].
    ///
    /// # Errors
    /// If the operands do not fit; the error names the expected and the actual value.
    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError>;

    /// Evaluates the primitive with its reference kernel, in float64, int64 or bool: slow and obvious. `dims` are the
    /// dimensions of the result; the operands have types that [`Primitive::infer`] accepts.
    ///
    /// # Errors
    /// If a dimension is not known, an index is out of range, an integer is divided by 0, or the result is too large.
    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError>;

    /// Builds the adjoints of the operands from `d.r`: the vector-Jacobian product. Operands on which the result does
    /// not depend, or only in steps, get no adjoint.
    ///
    /// # Errors
    /// [`Adjoint::unsupported`] if no derivative is defined.
    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError>;

    /// Builds the result for several targets at once: it has the leading axis of targets because at least one operand
    /// has it.
    ///
    /// # Errors
    /// If the node cannot be typed with the leading axis.
    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError>;

    /// Returns whether every element of the result is known to be 0.
    fn is_zero(&self, _x: &Knowledge<'_>) -> bool {
        false
    }

    /// Returns the operand to which the result is known to be equal, provided that both have the same type.
    fn equal_operand(&self, _x: &Knowledge<'_>) -> Option<usize> {
        None
    }

    /// Returns whether operand `k` can be dropped without changing the result.
    fn can_drop_operand(&self, _k: usize, _x: &Knowledge<'_>) -> bool {
        false
    }

    /// Returns whether no element of the result can be negative for any input.
    fn is_non_negative(&self, _x: &Signs<'_>) -> bool {
        false
    }

    /// Returns the name of the operation in printed graphs.
    fn title(&self) -> String {
        self.name().to_string()
    }

    /// Returns the attributes in printed graphs.
    fn attributes(&self) -> String {
        self.text()
    }
}
