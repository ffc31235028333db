//! Replacement of rows by index.

use ndarray::ArrayD;

use super::Gather;
use super::contract::*;
use super::reference::layout::{array, resolve_indices, values, wrong_type};

/// Replacement of rows. `(data [n, …], indices [m], updates [m, …])` → `data` with the rows at `indices` replaced. The
/// last of several updates of one row counts. Negative indices count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwrite;

fields!(Overwrite);

impl Primitive for Overwrite {
    fn arity(&self) -> RangeInclusive<usize> {
        3..=3
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (data, at, updates) = (&x[0], &x[1], &x[2]);
        indices(at)?;
        axis_in(0, data)?;
        equal("rank of indices", at.rank(), 1)?;
        want(updates, data.dtype)?;
        let rows = [&at.shape.0[..], &data.shape.0[1..]].concat();
        dims_equal("shape of updates", &updates.shape.0, &rows)?;
        Ok(data.clone())
    }

    fn evaluate(&self, x: &[&Array], _dims: &[usize]) -> Result<Array, OpError> {
        let (data, updates) = (x[0], x[2]);
        let indices = resolve_indices(x[1], 0, data.dims()[0])?;
        match (data, updates) {
            (Array::F(x), Array::F(u)) => replace_rows(x, &indices, u).map(Array::F),
            (Array::I(x), Array::I(u)) => replace_rows(x, &indices, u).map(Array::I),
            (Array::B(x), Array::B(u)) => replace_rows(x, &indices, u).map(Array::B),
            (Array::F(_) | Array::I(_) | Array::B(_), _) => {
                Err(wrong_type("the element type of data", updates))
            }
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let (at, r) = (d.x[1], d.r);
        let zero = d.b.scalar_like(0.0, r);
        let to = d.shape(2);
        let none = d.b.expand(zero, &to);
        let data = d.b.add(Overwrite, &[r, at, none]);
        d.set(0, data);
        let updates = d.b.add(Gather { axis: 0 }, &[r, at]);
        d.set(2, updates);
        Ok(())
    }

    /// Rows are replaced along the first axis, so the leading axis becomes the second.
    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        if t.is_batched(1) {
            return Ok(t.per_target(*self));
        }
        let [data, updates] = [0, 2].map(|i| {
            let v = t.batched(i);
            t.move_axis(v, 0, 1)
        });
        let at = t.value(1);
        let y = t.add(*self, &[data, at, updates]);
        Ok(t.move_axis(y, 1, 0))
    }

    fn equal_operand(&self, x: &Knowledge<'_>) -> Option<usize> {
        x.is_empty(2).then_some(0)
    }
}

fn replace_rows<T: Clone>(x: &ArrayD<T>, indices: &[usize], u: &ArrayD<T>) -> Result<ArrayD<T>, OpError> {
    let inner: usize = x.shape()[1..].iter().product();
    let mut out = values(x).to_vec();
    for (row, index) in values(u).chunks(inner.max(1)).zip(indices) {
        out[index * inner..][..inner].clone_from_slice(row);
    }
    array(x.shape(), out)
}
