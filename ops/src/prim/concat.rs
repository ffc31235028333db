//! Concatenation along an axis.

use ndarray::ArrayD;

use super::contract::*;
use super::reference::layout::{AxisExtents, array, mixed_types, values};

/// Concatenation of the operands along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    /// Axis along which the operands are concatenated, in `0..rank`.
    pub axis: usize,
}

impl Builder {
    /// Adds a node that concatenates `parts` along an axis.
    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        self.add(Concat { axis }, parts)
    }
}

fields!(Concat { axis: Axis });

impl Primitive for Concat {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (axis, first) = (self.axis, &x[0]);
        axis_in(axis, first)?;
        let mut sum = Dim::known(0);
        for t in x {
            want(t, first.dtype)?;
            equal("rank", t.rank(), first.rank())?;
            for i in (0..t.rank()).filter(|i| *i != axis) {
                dim_equal("dimension beside the concatenated axis", t.dim(i), first.dim(i))?;
            }
            sum = &sum + t.dim(axis);
        }
        Ok(with_dim(first, axis, sum))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let mut kinds = (vec![], vec![], vec![]);
        for x in x {
            match x {
                Array::F(x) => kinds.0.push(x),
                Array::I(x) => kinds.1.push(x),
                Array::B(x) => kinds.2.push(x),
            }
        }
        match (kinds.0.is_empty(), kinds.1.is_empty(), kinds.2.is_empty()) {
            (false, true, true) => concat_arrays(self.axis, &kinds.0, dims).map(Array::F),
            (true, false, true) => concat_arrays(self.axis, &kinds.1, dims).map(Array::I),
            (true, true, false) => concat_arrays(self.axis, &kinds.2, dims).map(Array::B),
            _ => Err(mixed_types()),
        }
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let mut start = Dim::known(0);
        for i in 0..d.x.len() {
            let len = d.b.ty(d.x[i]).dim(self.axis).clone();
            if d.is_requested(i) {
                let v = d.b.slice(d.r, self.axis, &start, &len);
                d.set(i, v);
            }
            start = &start + &len;
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let operands: Vec<Value> = (0..t.operand_count()).map(|i| t.batched(i)).collect();
        Ok(t.add(Concat { axis: self.axis + 1 }, &operands))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.count() > 0 && (0..x.count()).all(|k| x.is_zero_or_empty(k))
    }

    /// Returns the only operand with elements.
    fn equal_operand(&self, x: &Knowledge<'_>) -> Option<usize> {
        let mut full = (0..x.count()).filter(|k| !x.is_empty(*k));
        full.next().filter(|_| full.next().is_none())
    }

    fn can_drop_operand(&self, k: usize, x: &Knowledge<'_>) -> bool {
        x.is_empty(k)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.all()
    }
}

fn concat_arrays<T: Clone>(axis: usize, inputs: &[&ArrayD<T>], dims: &[usize]) -> Result<ArrayD<T>, OpError> {
    let AxisExtents { outer, inner, .. } = AxisExtents::new(dims, axis);
    let blocks: Vec<_> = inputs.iter().map(|x| (values(x), x.shape()[axis] * inner)).collect();
    let mut out = Vec::with_capacity(dims.iter().product());
    for o in 0..outer {
        for (values, size) in &blocks {
            out.extend_from_slice(&values[o * size..][..*size]);
        }
    }
    array(dims, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{bools, error, eval, ints, row};

    #[test]
    fn operands_stand_one_after_another() {
        let (x, y) = (ints(&[2, 3], &[1, 2, 3, 4, 5, 6]), ints(&[2, 1], &[7, 8]));
        assert_eq!(eval(Concat { axis: 1 }, &[&x, &y]), ints(&[2, 4], &[1, 2, 3, 7, 4, 5, 6, 8]));
        let flags = bools(&[2], &[true, false]);
        assert_eq!(eval(Concat { axis: 0 }, &[&flags, &flags]), bools(&[4], &[true, false, true, false]));
        assert!(error(Concat { axis: 0 }, &[&flags, &row(&[1.0])]).contains("element type"));
    }
}
