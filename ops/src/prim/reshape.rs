//! Change of shape.

use super::contract::*;
use super::reference::layout::{array, values};

/// The elements of the operand under another shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reshape {
    /// Shape of the result; it has as many elements as the operand.
    pub to: Shape,
}

impl Builder {
    /// Adds a change of shape; returns `x` if it already has this shape.
    pub fn reshape(&mut self, x: Value, to: &Shape) -> Value {
        if self.ty(x).shape == *to { x } else { self.add(Reshape { to: to.clone() }, &[x]) }
    }
}

fields!(Reshape { to: Shape });

impl Primitive for Reshape {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        dim_equal("elements", &self.to.elems(), &x[0].shape.elems())?;
        Ok(x[0].with_shape(self.to.clone()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        Ok(match x[0] {
            Array::F(x) => Array::F(array(dims, values(x).into_owned())?),
            Array::I(x) => Array::I(array(dims, values(x).into_owned())?),
            Array::B(x) => Array::B(array(dims, values(x).into_owned())?),
        })
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        let to = d.shape(0);
        let v = d.b.reshape(d.r, &to);
        d.set(0, v);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let to = t.with_target_axis(&self.to);
        Ok(t.apply_to_first(Reshape { to }))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0)
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        x.first()
    }

    fn attributes(&self) -> String {
        format!("to={}", self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{eval, ints, known};

    #[test]
    fn elements_keep_their_order() {
        let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let to = Shape(known(&[3, 2]));
        assert_eq!(eval(Reshape { to }, &[&x]), ints(&[3, 2], &[1, 2, 3, 4, 5, 6]));
    }
}
