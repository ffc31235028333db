//! Indices of the elements other than 0.

use super::contract::*;
use super::reference::layout::{array, elems, strides};

/// The indices of the elements other than 0 of `x`, row-major: `[rank, elements]`, as many columns as there are such
/// elements and then zeros. Their number is another value.
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

    /// Columns of indices, then zeros.
    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let x = x[0];
        let set: Vec<bool> = match x {
            Array::F(x) => x.iter().map(|v| *v != 0.0).collect(),
            Array::I(x) => x.iter().map(|v| *v != 0).collect(),
            Array::B(x) => x.iter().copied().collect(),
        };
        let columns = set.len();
        let mut made = vec![0i64; elems(dims)?];
        let steps = strides(x.dims());
        let places = set.iter().enumerate().filter(|(_, set)| **set).map(|(place, _)| place);
        for (column, place) in places.enumerate() {
            for (axis, (step, dim)) in steps.iter().zip(x.dims()).enumerate() {
                made[axis * columns + column] = (place / step % dim) as i64;
            }
        }
        array(dims, made).map(Array::I)
    }

    fn adjoint(&self, _d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.per_target(*self))
    }
}
