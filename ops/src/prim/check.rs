//! Checks shared by the type rules.

use super::Window;
use crate::OpError;
use crate::tensor::{DType, Dim, Shape, TensorType, broadcast};

/// Checks that a property has the expected value.
pub(super) fn equal<T: PartialEq + std::fmt::Display>(
    property: &str,
    actual: T,
    expected: T,
) -> Result<(), OpError> {
    if actual == expected { Ok(()) } else { Err(OpError::mismatch(property, expected, actual)) }
}

/// Checks that lists of dimensions are equal.
pub(super) fn dims_equal(property: &str, actual: &[Dim], expected: &[Dim]) -> Result<(), OpError> {
    if actual == expected {
        return Ok(());
    }
    Err(OpError::shapes(property, &Shape(expected.to_vec()), &Shape(actual.to_vec())))
}

/// Checks that two dimensions are equal.
pub(super) fn dim_equal(property: &str, actual: &Dim, expected: &Dim) -> Result<(), OpError> {
    if actual == expected { Ok(()) } else { Err(OpError::dims(property, expected, actual)) }
}

/// Checks the element type.
pub(super) fn want(ty: &TensorType, dtype: DType) -> Result<(), OpError> {
    equal("element type", ty.dtype, dtype)
}

/// Checks that indices are integers.
pub(super) fn indices(ty: &TensorType) -> Result<(), OpError> {
    if ty.dtype.is_integer() { Ok(()) } else { Err(OpError::mismatch("indices", "integers", ty.dtype)) }
}

/// Checks that an axis is below the rank.
pub(super) fn axis_in(axis: usize, ty: &TensorType) -> Result<(), OpError> {
    if axis < ty.rank() { Ok(()) } else { Err(OpError::Axis { axis: axis as i64, rank: ty.rank() }) }
}

/// Returns `ty` with dimension `dim` along `axis`.
pub(super) fn with_dim(ty: &TensorType, axis: usize, dim: Dim) -> TensorType {
    let mut ty = ty.clone();
    ty.shape.0[axis] = dim;
    ty
}

/// Returns the shape to which two shapes broadcast, or an error if they do not.
pub(super) fn broadcast_or(a: &Shape, b: &Shape) -> Result<Shape, OpError> {
    broadcast(a, b).ok_or_else(|| OpError::broadcast(a, b))
}

/// Returns the spatial dimensions of an operand `[n, c, …]` of windows.
pub(super) fn spatial<'a>(x: &'a TensorType, w: &Window) -> Result<&'a [Dim], OpError> {
    w.check()?;
    if x.rank() != w.rank() + 2 {
        return Err(OpError::mismatch(
            "rank of the operand",
            format!("{} (n, c, {} spatial)", w.rank() + 2, w.rank()),
            x,
        ));
    }
    Ok(&x.shape.0[2..])
}

/// Infers the type of windows over `[n, c, …]`.
pub(super) fn windows_of(w: &Window, x: &TensorType) -> Result<TensorType, OpError> {
    let out = w.output(spatial(x, w)?)?;
    Ok(x.with_shape([x.shape.0[..2].to_vec(), out].concat()))
}
