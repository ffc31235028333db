//! Look-up by index, and its adjoint.

use ndarray::ArrayD;

use super::contract::*;
use super::reference::layout::{
    AxisExtents, Number, Table, array, elems, identity, pick_array, resolve_indices, values, wrong_type,
};

/// Look-up by index along an axis: `(data, indices)`; negative indices count from the end. The axes of `indices`
/// replace `axis` in the shape of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gather {
    /// Axis of `data` that the indices address.
    pub axis: usize,
}

/// Adjoint of [`Gather`] in `data`. `(updates, indices)` → zeros with dimension `to` along `axis`, to which each update
/// is added at its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScatterAdd {
    /// Axis of the result that the indices address.
    pub axis: usize,
    /// Dimension of the result along `axis`.
    pub to: Dim,
}

fields!(Gather { axis: Axis });

impl Primitive for Gather {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        axis_in(self.axis, &x[0])?;
        indices(&x[1])?;
        let d = &x[0].shape.0;
        Ok(x[0].with_shape([&d[..self.axis], &x[1].shape.0, &d[self.axis + 1..]].concat()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let (data, axis) = (x[0], self.axis);
        let indices = resolve_indices(x[1], axis, data.dims()[axis])?;
        let mut tables = identity(data.dims());
        tables[axis] = indices.into_iter().map(|i| tables[axis][i]).collect::<Table>();
        pick_array(data, &tables, 0.0, dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let to = d.b.ty(d.x[0]).dim(self.axis).clone();
        let v = d.b.add(ScatterAdd { axis: self.axis, to }, &[d.r, d.x[1]]);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let operands = [t.value(0), t.value(1)];
        Ok(match (t.is_batched(0), t.is_batched(1)) {
            (true, true) => t.per_target(self.clone()),
            (true, false) => t.add(Gather { axis: self.axis + 1 }, &operands),
            // The axes of the indices, the leading one first, stand at position `axis`.
            (false, _) => {
                let y = t.add(self.clone(), &operands);
                t.move_axis(y, self.axis, 0)
            }
        })
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }
}

fields!(ScatterAdd { axis: Axis, to: Dim });

impl Primitive for ScatterAdd {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (updates, at, axis) = (&x[0], &x[1], self.axis);
        indices(at)?;
        let end = axis + at.rank();
        if end > updates.rank() {
            return Err(OpError::mismatch("rank of updates", format!("at least {end}"), updates.rank()));
        }
        let d = &updates.shape.0;
        dims_equal("indexed axes of updates", &d[axis..end], &at.shape.0)?;
        Ok(updates.with_shape([&d[..axis], std::slice::from_ref(&self.to), &d[end..]].concat()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let (updates, axis) = (x[0], self.axis);
        let indices = resolve_indices(x[1], axis, dims[axis])?;
        match updates {
            Array::F(x) => scatter_add(axis, x, &indices, dims).map(Array::F),
            Array::I(x) => scatter_add(axis, x, &indices, dims).map(Array::I),
            Array::B(_) => Err(wrong_type("a number type", updates)),
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let v = d.b.add(Gather { axis: self.axis }, &[d.r, d.x[1]]);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        if t.is_batched(1) {
            return Ok(t.per_target(self.clone()));
        }
        let operands = [t.value(0), t.value(1)];
        Ok(t.add(ScatterAdd { axis: self.axis + 1, to: self.to.clone() }, &operands))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero_or_empty(0)
    }
}

fn scatter_add<T: Number>(
    axis: usize,
    x: &ArrayD<T>,
    indices: &[usize],
    dims: &[usize],
) -> Result<ArrayD<T>, OpError> {
    let AxisExtents { outer, dim, inner } = AxisExtents::new(dims, axis);
    let mut out = vec![T::ZERO; elems(dims)?];
    let x = values(x);
    for o in 0..outer {
        for (j, index) in indices.iter().enumerate() {
            for i in 0..inner {
                let at = (o * dim + index) * inner + i;
                out[at] = out[at].plus(x[(o * indices.len() + j) * inner + i]);
            }
        }
    }
    array(dims, out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{error, eval, floats, inner, ints, random, row};

    #[test]
    fn negative_indices_count_from_the_end_and_others_out_of_range_are_refused() {
        let x = floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let at = ints(&[2, 2], &[0, -1, 1, 1]);
        let y = eval(Gather { axis: 1 }, &[&x, &at]);
        assert_eq!(y, floats(&[2, 2, 2], &[1.0, 3.0, 2.0, 2.0, 4.0, 6.0, 5.0, 5.0]));
        assert_eq!(eval(Gather { axis: 0 }, &[&x, &ints(&[], &[-2])]), row(&[1.0, 2.0, 3.0]));
        let back = eval(ScatterAdd { axis: 1, to: Dim::known(3) }, &[&y, &at]);
        assert_eq!(back, floats(&[2, 3], &[1.0, 4.0, 3.0, 4.0, 10.0, 6.0]));
        let five = row(&[0.0; 5]);
        for index in [7, -6] {
            let expected = format!("index {index} is out of range for axis 0: expected -5 to 4");
            assert_eq!(error(Gather { axis: 0 }, &[&five, &ints(&[1], &[index])]), expected);
            let scatter = ScatterAdd { axis: 0, to: Dim::known(5) };
            assert_eq!(error(scatter, &[&row(&[1.0]), &ints(&[1], &[index])]), expected);
        }
        assert!(
            error(Gather { axis: 0 }, &[&row(&[]), &ints(&[1], &[i64::MIN])])
                .contains("out of range for axis 0: expected elements")
        );
    }

    proptest! {
        #[test]
        fn scatter_add_is_the_adjoint_of_gather(
            axis in 0usize..3,
            at in prop::collection::vec(-3i64..3, 0..6),
            square in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let mut dims = [2, 4, 2];
            dims[axis] = 3;
            let x = random(&dims, seed);
            let shape = if square && at.len() % 2 == 0 { vec![at.len() / 2, 2] } else { vec![at.len()] };
            let at = ints(&shape, &at);
            let y = eval(Gather { axis }, &[&x, &at]);
            let s = random(y.dims(), seed ^ 1);
            let back = eval(ScatterAdd { axis, to: Dim::known(3) }, &[&s, &at]);
            prop_assert_eq!(inner(&y, &s), inner(&x, &back));
        }
    }
}
