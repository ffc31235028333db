//! Slices along an axis, and their adjoint.

use super::contract::*;
use super::reference::layout::{identity, known, pick_array};

/// Elements `start, start + step, …` along one axis, `len` of them. A negative step runs backwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Axis of the slice, in `0..rank`.
    pub axis: usize,
    /// First index.
    pub start: Dim,
    /// Number of elements.
    pub len: Dim,
    /// Distance of consecutive indices, not 0.
    pub step: i64,
}

/// Adjoint of [`Slice`]: zeros of dimension `to` along `axis`, with the operand at the indices of the slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceTranspose {
    /// Axis of the slice, in `0..rank`.
    pub axis: usize,
    /// First index.
    pub start: Dim,
    /// Dimension of the result along `axis`.
    pub to: Dim,
    /// Distance of consecutive indices, not 0.
    pub step: i64,
}

impl Builder {
    /// Adds a slice of `len` elements from `start` along an axis.
    pub fn slice(&mut self, x: Value, axis: usize, start: &Dim, len: &Dim) -> Value {
        self.add(Slice { axis, start: start.clone(), len: len.clone(), step: 1 }, &[x])
    }
}

fields!(Slice { axis: Axis, start: Dim, len: Dim, step: Step });

impl Primitive for Slice {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        axis_in(self.axis, &x[0])?;
        slice_in(&self.start, &self.len, self.step, x[0].dim(self.axis))?;
        Ok(with_dim(&x[0], self.axis, self.len.clone()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let (axis, from) = (self.axis, x[0].dims());
        let mut tables = identity(from);
        let positions = positions(&self.start, self.step, dims[axis], from[axis])?;
        tables[axis] = positions.into_iter().map(|at| tables[axis][at]).collect();
        pick_array(x[0], &tables, 0.0, dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let to = d.b.ty(d.x[0]).dim(self.axis).clone();
        let back = SliceTranspose { axis: self.axis, start: self.start.clone(), to, step: self.step };
        let v = d.b.add(back, &[d.r]);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.apply_to_first(Slice { axis: self.axis + 1, ..self.clone() }))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero_or_empty(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }
}

fields!(SliceTranspose { axis: Axis, start: Dim, to: Dim, step: Step });

impl Primitive for SliceTranspose {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        axis_in(self.axis, &x[0])?;
        slice_in(&self.start, x[0].dim(self.axis), self.step, &self.to)?;
        Ok(with_dim(&x[0], self.axis, self.to.clone()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let (axis, from) = (self.axis, x[0].dims());
        let mut tables = identity(from);
        let mut table = vec![None; dims[axis]];
        let positions = positions(&self.start, self.step, from[axis], dims[axis])?;
        for (entry, at) in tables[axis].iter().zip(positions) {
            table[at] = *entry;
        }
        tables[axis] = table;
        pick_array(x[0], &tables, 0.0, dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let len = d.b.ty(d.x[0]).dim(self.axis).clone();
        let back = Slice { axis: self.axis, start: self.start.clone(), len, step: self.step };
        let v = d.b.add(back, &[d.r]);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.apply_to_first(SliceTranspose { axis: self.axis + 1, ..self.clone() }))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero_or_empty(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }
}

/// Checks that a slice lies within a dimension, as far as both are known.
fn slice_in(start: &Dim, len: &Dim, step: i64, dim: &Dim) -> Result<(), OpError> {
    if step == 0 {
        return Err(OpError::invalid("step of a slice", "other than 0", 0));
    }
    let (Some(start), Some(len), Some(dim)) = (start.as_known(), len.as_known(), dim.as_known()) else {
        return Ok(());
    };
    let last = (len - 1).checked_mul(step).and_then(|d| d.checked_add(start));
    let inside = |i: i64| (0..dim).contains(&i);
    if len < 0 || (len > 0 && !(inside(start) && last.is_some_and(inside))) {
        return Err(outside(start, len, step, dim));
    }
    Ok(())
}

/// Returns the error of a slice with elements outside of its dimension.
fn outside(start: i64, len: i64, step: i64, dim: i64) -> OpError {
    let actual = format!("{len} from {start} with step {step}");
    OpError::invalid("elements of a slice", format!("within dimension {dim}"), actual)
}

/// Returns the indices of a slice of `len` elements, all of which must be below `dim`.
fn positions(start: &Dim, step: i64, len: usize, dim: usize) -> Result<Vec<usize>, OpError> {
    let start = known(start)?;
    let inside = |i: i64| {
        let at = start.checked_add(i.checked_mul(step)?)?;
        usize::try_from(at).ok().filter(|at| *at < dim)
    };
    let all: Option<Vec<usize>> = (0..len as i64).map(inside).collect();
    all.ok_or_else(|| outside(start, len as i64, step, dim as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{bools, error, eval, inner, ints, random, row};

    fn slice(axis: usize, start: i64, len: i64, step: i64) -> Slice {
        Slice { axis, start: Dim::known(start), len: Dim::known(len), step }
    }

    #[test]
    fn slices_have_hand_computed_values() {
        let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(eval(slice(1, 2, 2, -2), &[&x]), ints(&[2, 2], &[3, 1, 6, 4]));
        assert_eq!(eval(slice(0, 1, 1, 1), &[&x]), ints(&[1, 3], &[4, 5, 6]));
        assert_eq!(eval(slice(0, 9, 0, 1), &[&x]), ints(&[0, 3], &[]));
        let back = SliceTranspose { axis: 0, start: Dim::known(2), to: Dim::known(4), step: -2 };
        assert_eq!(eval(back, &[&x]), ints(&[4, 3], &[4, 5, 6, 0, 0, 0, 1, 2, 3, 0, 0, 0]));
        let flags = bools(&[2], &[true, false]);
        assert_eq!(eval(slice(0, 1, 2, -1), &[&flags]), bools(&[2], &[false, true]));
    }

    #[test]
    fn a_symbolic_start_is_refused() {
        let symbolic = Slice { axis: 0, start: Dim::symbol("s"), len: Dim::known(1), step: 1 };
        assert_eq!(error(symbolic, &[&row(&[1.0])]), "dimension: expected a known number, found s");
    }

    proptest! {
        #[test]
        fn the_transpose_is_the_adjoint(
            axis in 0usize..3,
            start in 0i64..4,
            step in prop::sample::select(vec![-2i64, -1, 1, 2]),
            len in 0i64..3,
            seed in any::<u64>(),
        ) {
            let last = start + (len - 1).max(0) * step;
            prop_assume!((0..6).contains(&last));
            let mut dims = [2, 3, 2];
            dims[axis] = 6;
            let x = random(&dims, seed);
            let y = eval(slice(axis, start, len, step), &[&x]);
            let s = random(y.dims(), seed ^ 1);
            let to = Dim::known(6);
            let back = eval(SliceTranspose { axis, start: Dim::known(start), to, step }, &[&s]);
            prop_assert_eq!(inner(&y, &s), inner(&x, &back));
        }
    }
}
