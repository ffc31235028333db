//! Indices of non-zero elements.

use super::contract::*;
use super::reference::layout::{array, elems, strides};

/// Indices of the non-zero elements of `x`, row-major: int64 `[rank, elements of x]`, with one column per non-zero
/// element, then columns of zeros. The number of non-zero elements is a separate value; see
/// [`Graph::data_dependent_dim`](crate::graph::Graph::data_dependent_dim).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonZero;

fields!(NonZero);

impl Primitive for NonZero {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (rank, elems) = (Dim::known(x[0].rank() as i64), x[0].shape.elems());
        Ok(TensorType::new(DType::I64, vec![rank, elems]))
    }

    /// Evaluates the columns of indices, then zeros.
    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let x = x[0];
        let set: Vec<bool> = match x {
            Array::F(x) => x.iter().map(|v| *v != 0.0).collect(),
            Array::I(x) => x.iter().map(|v| *v != 0).collect(),
            Array::B(x) => x.iter().copied().collect(),
        };
        let columns = set.len();
        let mut indices = vec![0i64; elems(dims)?];
        let steps = strides(x.dims());
        let positions = set.iter().enumerate().filter(|(_, set)| **set).map(|(position, _)| position);
        for (column, position) in positions.enumerate() {
            for (axis, (step, dim)) in steps.iter().zip(x.dims()).enumerate() {
                indices[axis * columns + column] = (position / step % dim) as i64;
            }
        }
        array(dims, indices).map(Array::I)
    }

    fn adjoint(&self, _d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.per_target(*self))
    }
}
