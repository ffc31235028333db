//! Broadcast to a shape.

use super::contract::*;
use super::reference::layout::{broadcast, pick_array};

/// Broadcast of the operand to a shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expand {
    /// Shape of the result.
    pub to: Shape,
}

impl Builder {
    /// Adds a node that broadcasts `x` to a shape; returns `x` if it already has this shape.
    pub fn expand(&mut self, x: Value, to: &Shape) -> Value {
        if self.ty(x).shape == *to { x } else { self.add(Expand { to: to.clone() }, &[x]) }
    }
}

fields!(Expand { to: Shape });

impl Primitive for Expand {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let broadcast = broadcast_or(&x[0].shape, &self.to)?;
        dims_equal("shape to expand to", &broadcast.0, &self.to.0)?;
        Ok(x[0].with_shape(self.to.clone()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        pick_array(x[0], &broadcast(x[0].dims(), dims), 0.0, dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        d.set_summed(0, d.r);
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        let x = t.aligned(0, self.to.rank());
        let to = t.with_target_axis(&self.to);
        Ok(t.add(Expand { to }, &[x]))
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
    use proptest::prelude::*;

    use super::*;
    use crate::prim::tests::arrays::{eval, inner, ints, known, random};
    use crate::prim::{Reduce, Reduction, Reshape};

    #[test]
    fn leading_axes_are_repeated() {
        let (x, to) = (ints(&[2, 1], &[7, 8]), Shape(known(&[2, 2, 2])));
        assert_eq!(eval(Expand { to }, &[&x]), ints(&[2, 2, 2], &[7, 7, 8, 8, 7, 7, 8, 8]));
    }

    proptest! {
        #[test]
        fn sum_is_the_adjoint_of_expand(
            dims in prop::collection::vec((1usize..4, any::<bool>()), 0..4),
            lead in 0usize..2,
            seed in any::<u64>(),
        ) {
            let from: Vec<usize> = dims.iter().map(|(d, broadcast)| if *broadcast { 1 } else { *d }).collect();
            let to: Vec<usize> = (0..lead).map(|_| 2).chain(dims.iter().map(|(d, _)| *d)).collect();
            let x = random(&from, seed);
            let y = eval(Expand { to: Shape(known(&to)) }, &[&x]);
            let s = random(&to, seed ^ 1);
            let axes: Vec<usize> = (0..to.len()).filter(|i| *i < lead || from[i - lead] != to[*i]).collect();
            let sum = eval(Reduce { kind: Reduction::Sum, axes, keep: true }, &[&s]);
            let back = eval(Reshape { to: Shape(known(&from)) }, &[&sum]);
            prop_assert_eq!(inner(&y, &s), inner(&x, &back));
        }
    }
}
