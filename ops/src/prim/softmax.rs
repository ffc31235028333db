//! Softmax along an axis.

use super::contract::*;
use super::reference::layout::{AxisExtents, array, float, values};
use super::{Binary, Reduction};

/// Softmax along one axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Softmax {
    /// Axis along which the result sums to 1, in `0..rank`.
    pub axis: usize,
}

fields!(Softmax { axis: Axis });

impl Primitive for Softmax {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        axis_in(self.axis, &x[0]).map(|()| x[0].clone())
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let AxisExtents { outer, dim, inner } = AxisExtents::new(dims, self.axis);
        let mut y = values(float(x[0])?).into_owned();
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let at = |d: usize| (o * dim + d) * inner + i;
            let max = (0..dim).fold(f64::NEG_INFINITY, |max, d| max.max(y[at(d)]));
            (0..dim).for_each(|d| y[at(d)] = (y[at(d)] - max).exp());
            let sum: f64 = (0..dim).map(|d| y[at(d)]).sum();
            (0..dim).for_each(|d| y[at(d)] /= sum);
        }
        array(dims, y).map(Array::F)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        // The result of a fully masked row is NaN; its operands get no relevance.
        let number = d.b.binary(Binary::Equal, d.y, d.y);
        let y = d.masked(number, d.y);
        let flow = d.b.mul(d.r, y);
        let sum = d.b.reduce_keepdims(Reduction::Sum, flow, &[self.axis]);
        let back = d.b.mul(y, sum);
        let v = d.b.minus(flow, back);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.apply_to_first(Softmax { axis: self.axis + 1 }))
    }

    fn is_non_negative(&self, _x: &Signs<'_>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{assert_close, data, error, eval, floats, ints};

    #[test]
    fn softmax_is_stable() {
        let x = floats(&[2, 2], &[1000.0, 1000.0, f64::NEG_INFINITY, 0.0]);
        assert_close(&eval(Softmax { axis: 1 }, &[&x]), &floats(&[2, 2], &[0.5, 0.5, 0.0, 1.0]));
        let x = floats(&[2, 1], &[3f64.ln(), 0.0]);
        assert_close(&eval(Softmax { axis: 0 }, &[&x]), &floats(&[2, 1], &[0.75, 0.25]));
        assert!(data(&eval(Softmax { axis: 1 }, &[&floats(&[3, 0], &[])])).is_empty());
        assert!(error(Softmax { axis: 0 }, &[&ints(&[1], &[1])]).contains("float"));
    }
}
