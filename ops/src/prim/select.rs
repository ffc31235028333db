//! Elementwise choice by a condition.

use ndarray::ArrayD;

use super::Binary;
use super::contract::*;
use super::reference::layout::{array, broadcast_values, mixed_types, wrong_type};

/// Elementwise choice. `(condition, a, b)` → `a` where the condition holds, `b` elsewhere; operands broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Select;

impl Builder {
    /// Adds an elementwise choice: `a` where the condition holds, `b` elsewhere.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.add(Select, &[condition, a, b])
    }
}

fields!(Select);

impl Primitive for Select {
    fn arity(&self) -> RangeInclusive<usize> {
        3..=3
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        want(&x[0], DType::Bool)?;
        let value = Binary::Add.infer(&x[1..])?;
        Ok(value.with_shape(broadcast_or(&value.shape, &x[0].shape)?))
    }

    /// Evaluates the choice, with all operands broadcast to `dims`.
    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let Array::B(c) = x[0] else { return Err(wrong_type("bool", x[0])) };
        match (x[1], x[2]) {
            (Array::F(a), Array::F(b)) => choose(c, a, b, dims, &0.0).map(Array::F),
            (Array::I(a), Array::I(b)) => choose(c, a, b, dims, &0).map(Array::I),
            (Array::B(a), Array::B(b)) => choose(c, a, b, dims, &false).map(Array::B),
            (Array::F(_) | Array::I(_) | Array::B(_), _) => Err(mixed_types()),
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let (condition, r) = (d.x[0], d.r);
        let zero = d.b.scalar_like(0.0, r);
        let shares = [[r, zero], [zero, r]].map(|[a, o]| d.b.select(condition, a, o));
        for (i, v) in shares.into_iter().enumerate() {
            d.set_summed(i + 1, v);
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.broadcast(*self))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(1) && x.is_zero(2)
    }
}

fn choose<T: Copy>(
    condition: &ArrayD<bool>,
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    dims: &[usize],
    fill: &T,
) -> Result<ArrayD<T>, OpError> {
    let condition = broadcast_values(condition, dims, &false);
    let (a, b) = (broadcast_values(a, dims, fill), broadcast_values(b, dims, fill));
    let pairs = a.iter().zip(b.iter());
    array(dims, condition.iter().zip(pairs).map(|(c, (a, b))| if *c { *a } else { *b }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{bools, error, eval, floats, ints, row};

    #[test]
    fn select_broadcasts_all_three() {
        let condition = bools(&[2, 1], &[true, false]);
        let (a, b) = (row(&[1.0, 2.0]), floats(&[], &[9.0]));
        assert_eq!(eval(Select, &[&condition, &a, &b]), floats(&[2, 2], &[1.0, 2.0, 9.0, 9.0]));
        let (a, b) = (ints(&[1], &[1]), ints(&[1], &[2]));
        assert_eq!(eval(Select, &[&condition, &a, &b]), ints(&[2, 1], &[1, 2]));
        assert_eq!(eval(Select, &[&condition, &condition, &condition]), bools(&[2, 1], &[true, false]));
        assert!(error(Select, &[&a, &a, &a]).contains("bool"));
    }
}
