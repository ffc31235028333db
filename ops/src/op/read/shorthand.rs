//! Additions of frequent operators, for readers that compose several.

use super::Reading;
use crate::OpError;
use crate::graph::Value;
use crate::op::{Activation, Cast, Compare, Function, Range, Reduce, ReduceKind, Select, Slice};
use crate::prim::{Binary, Unary};
use crate::tensor::{DType, Dim, Shape};

impl Reading<'_> {
    /// Adds an int64 tensor of shape `dims` whose elements are dimensions.
    ///
    /// # Errors
    /// If the tensor exceeds a limit.
    pub fn add_dims(&mut self, dims: Vec<usize>, values: Vec<Dim>) -> Result<Value, OpError> {
        self.add(crate::op::fold::DimTensor { dims, values }.into_op(), &[])
    }

    /// Adds a change of shape; returns `x` if it already has this shape.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshape(&mut self, x: Value, to: Shape) -> Result<Value, OpError> {
        if self.ty(x).shape == to { Ok(x) } else { self.add(crate::op::Reshape { to }, &[x]) }
    }

    /// Adds an elementwise function of one operand.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn unary(&mut self, f: Unary, x: Value) -> Result<Value, OpError> {
        self.add(Activation { f: Function::Unary(f) }, &[x])
    }

    /// Adds a comparison or a logic function of two operands, which broadcast.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn compare(&mut self, f: Binary, a: Value, b: Value) -> Result<Value, OpError> {
        self.add(Compare { f: Some(f), swap: false }, &[a, b])
    }

    /// Adds a choice by element: `a` where `condition` is true, `b` elsewhere.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Result<Value, OpError> {
        self.add(Select, &[condition, a, b])
    }

    /// Adds a conversion of the element type; returns `x` if it has this type.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn cast(&mut self, x: Value, to: DType) -> Result<Value, OpError> {
        if self.ty(x).dtype == to { Ok(x) } else { self.add(Cast { to }, &[x]) }
    }

    /// Adds the int64 numbers `0..len` along axis `axis` of a tensor of `rank` dimensions, the others of which are 1.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn count_along(&mut self, len: &Dim, axis: usize, rank: usize) -> Result<Value, OpError> {
        let count = self.add(Range { start: Dim::known(0), step: 1, len: len.clone() }, &[])?;
        let mut shape = vec![Dim::known(1); rank];
        shape[axis] = len.clone();
        self.reshape(count, Shape(shape))
    }

    /// Adds a reduction whose axes stay with dimension 1.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn reduce(&mut self, kind: ReduceKind, x: Value, axes: &[usize]) -> Result<Value, OpError> {
        self.add(Reduce { kind, axes: axes.to_vec(), keep: true }, &[x])
    }

    /// Adds the elements `start..start + len` along an axis.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn slice(&mut self, x: Value, axis: usize, start: Dim, len: Dim) -> Result<Value, OpError> {
        self.add(Slice { axis, start, len, step: 1 }, &[x])
    }

    /// Flattens a tensor to a matrix whose columns begin at axis `axis`, as the first opsets do.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn flatten(&mut self, x: Value, axis: usize) -> Result<Value, OpError> {
        let dims = self.ty(x).shape.0;
        let product = |d: &[Dim]| d.iter().fold(Dim::known(1), |n, d| &n * d);
        self.reshape(x, Shape(vec![product(&dims[..axis]), product(&dims[axis..])]))
    }

    /// Adds a dimension as an int64 scalar, for arithmetic with other tensors.
    ///
    /// # Errors
    /// As [`Reading::add`].
    pub fn dim_scalar(&mut self, dim: &Dim) -> Result<Value, OpError> {
        self.add_dims(vec![], vec![dim.clone()])
    }

    /// Returns the operands of an elementwise operator of two operands. From opset 7 on they broadcast as in NumPy. Before, the
    /// second one broadcasts only if attribute `broadcast` is set: its axes stand against those of the first one from `axis` on,
    /// by default against the last ones.
    ///
    /// # Errors
    /// If an operand is missing, or the axes do not fit.
    pub fn pair(&mut self) -> Result<[Value; 2], OpError> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        if self.opset >= 7 {
            return Ok([a, b]);
        }
        let axis = self.int("axis")?;
        if !self.flag("broadcast", false)? {
            return Ok([a, b]);
        }
        let (rank, shape) = (self.ty(a).rank(), self.ty(b).shape);
        let first = match axis {
            Some(axis) => super::resolve(axis, rank.max(1))?,
            None => rank.saturating_sub(shape.rank()),
        };
        let Some(trailing) = rank.checked_sub(first + shape.rank()) else {
            return Err(OpError::mismatch(
                "axes of the second operand",
                format!("at most {}", rank - first),
                shape,
            ));
        };
        let to = [shape.0, vec![Dim::known(1); trailing]].concat();
        let b = self.reshape(b, Shape(to))?;
        Ok([a, b])
    }
}
