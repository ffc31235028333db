//! The contract that every primitive fulfils, and the names with which its file begins.

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

/// A primitive other than an input or a constant: all that decides what it computes.
///
/// Methods that decide a result have no default. The others save work, and at worst cost speed.
pub trait Primitive: Fields {
    /// Range of the number of operands.
    fn arity(&self) -> RangeInclusive<usize>;

    /// The type of the result for operands of types `x`, as many as [`Primitive::arity`] allows.
    ///
    /// # Errors
    /// When operands do not fit, with what was expected and what was found.
    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError>;

    /// The reference kernel, in float64, int64 and bool: slow and obvious. `dims` are the result's, and the operands are of
    /// types that [`Primitive::infer`] accepts.
    ///
    /// # Errors
    /// When a dimension is not known, an index is out of range, integers are divided by 0, or the result is too large.
    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError>;

    /// Gives operands their share of `d.r` by the vector-Jacobian product. An operand that is given nothing has none: the
    /// result does not depend on it, or only in steps.
    ///
    /// # Errors
    /// [`Adjoint::unsupported`] where no derivative is defined.
    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError>;

    /// The result for several targets at once: operands that have the leading axis of targets give it to the result.
    ///
    /// # Errors
    /// When the node does not work out with the axis.
    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError>;

    /// Whether every element of the result is 0.
    fn is_zero(&self, _x: &Knowledge<'_>) -> bool {
        false
    }

    /// The operand that the result equals, provided that it has the result's type.
    fn equal_operand(&self, _x: &Knowledge<'_>) -> Option<usize> {
        None
    }

    /// Whether operand `k` may be left out without a change of the result.
    fn can_drop_operand(&self, _k: usize, _x: &Knowledge<'_>) -> bool {
        false
    }

    /// Whether no element of the result can be negative, whatever the inputs.
    fn is_non_negative(&self, _x: &Signs<'_>) -> bool {
        false
    }

    /// Name of the operation in printed graphs.
    fn title(&self) -> String {
        self.name().to_string()
    }

    /// Attributes in printed graphs.
    fn attributes(&self) -> String {
        self.text()
    }
}
