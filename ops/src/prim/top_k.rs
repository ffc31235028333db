//! Indices of the largest or smallest elements.

use std::cmp::Ordering;

use super::contract::*;
use super::reference::layout::{AxisExtents, array, by_value, elems, values, wrong_type};

/// Indices of the `k` largest or smallest elements along an axis, int64, in their order. Of equal elements the one of
/// lower index comes first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// Axis along which elements are compared, in `0..rank`.
    pub axis: usize,
    /// Number of indices, at most the dimension of the axis.
    pub k: Dim,
    /// True for the largest elements, false for the smallest.
    pub largest: bool,
}

fields!(TopK { axis: Axis, k: Dim, largest: Any });

impl Primitive for TopK {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (TopK { axis, k, .. }, x) = (self, &x[0]);
        axis_in(*axis, x)?;
        let dim = x.dim(*axis);
        if let Some(rest) = (dim - k).as_known().filter(|rest| *rest < 0) {
            let actual = format!("{k}, {} more", rest.saturating_neg());
            return Err(OpError::mismatch("k", format!("at most the axis's {dim}"), actual));
        }
        Ok(with_dim(&x.with_dtype(DType::I64), *axis, k.clone()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        evaluate(self.axis, self.largest, x[0], dims)
    }

    fn adjoint(&self, _d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.apply_to_first(TopK { axis: self.axis + 1, ..self.clone() }))
    }
}

/// Evaluates the indices along an axis; NaN counts as the largest.
fn evaluate(axis: usize, largest: bool, x: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let order: Box<dyn Fn(usize, usize) -> Ordering> = match x {
        Array::F(x) => {
            let x = values(x).into_owned();
            Box::new(move |a, b| by_value(x[a], x[b]))
        }
        Array::I(x) => {
            let x = values(x).into_owned();
            Box::new(move |a, b| x[a].cmp(&x[b]))
        }
        Array::B(_) => return Err(wrong_type("numbers", x)),
    };
    let AxisExtents { outer, dim: n, inner } = AxisExtents::new(x.dims(), axis);
    let k = dims[axis];
    let mut indices = vec![0i64; elems(dims)?];
    for o in 0..outer {
        for i in 0..inner {
            let offset = |j: usize| (o * n + j) * inner + i;
            let mut all: Vec<usize> = (0..n).collect();
            // A stable sort keeps the order of equal elements.
            all.sort_by(|a, b| {
                let ordering = order(offset(*a), offset(*b));
                if largest { ordering.reverse() } else { ordering }
            });
            for (rank, j) in all.into_iter().take(k).enumerate() {
                indices[(o * k + rank) * inner + i] = j as i64;
            }
        }
    }
    array(dims, indices).map(Array::I)
}
