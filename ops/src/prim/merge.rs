//! Choice between the results of two branches, and its adjoint.

use super::contract::*;
use super::reference::layout::{array, elems, known};

/// Choice between two branches. `(a, b)` → `a` if the condition is 1, `b` if it is 0; the other branch is not computed.
/// Dimensions in which the branches differ are those of the chosen branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// 1 or 0, known once symbols are bound.
    pub condition: Dim,
}

/// Adjoint of [`Merge`] in one operand. `(r)` → `r` if that operand was chosen, otherwise zeros of shape `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeTranspose {
    /// Condition of the forward.
    pub condition: Dim,
    /// True for the adjoint in `b`, false for that in `a`.
    pub second: bool,
    /// Shape of the operand.
    pub to: Shape,
}

fields!(Merge { condition: Dim });

impl Primitive for Merge {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    /// Each dimension is `condition · a + (1 - condition) · b`.
    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (condition, a, b) = (&self.condition, &x[0], &x[1]);
        want(b, a.dtype)?;
        equal("rank of the other branch", b.rank(), a.rank())?;
        let other = &Dim::known(1) - condition;
        let dim = |(a, b): (&Dim, &Dim)| if a == b { a.clone() } else { &(condition * a) + &(&other * b) };
        Ok(a.with_shape(a.shape.0.iter().zip(&b.shape.0).map(dim).collect::<Shape>()))
    }

    fn evaluate(&self, x: &[&Array], _dims: &[usize]) -> Result<Array, OpError> {
        Ok(x[usize::from(known(&self.condition)? == 0)].clone())
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        for (i, second) in [false, true].into_iter().enumerate() {
            let back = MergeTranspose { condition: self.condition.clone(), second, to: d.shape(i) };
            let v = d.b.add(back, &[d.r]);
            d.set(i, v);
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.per_target(self.clone()))
    }

    fn equal_operand(&self, _x: &Knowledge<'_>) -> Option<usize> {
        self.condition.as_known().map(|condition| usize::from(condition == 0))
    }
}

fields!(MergeTranspose { condition: Dim, second: Any, to: Shape });

impl MergeTranspose {
    /// Returns whether the operand was chosen; `None` while the condition is not known.
    fn chosen(&self) -> Option<bool> {
        self.condition.as_known().map(|condition| (condition == 0) == self.second)
    }
}

impl Primitive for MergeTranspose {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        if self.chosen() == Some(true) {
            dims_equal("shape of the operand", &self.to.0, &x[0].shape.0)?;
        }
        Ok(x[0].with_shape(self.to.clone()))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        if (known(&self.condition)? == 0) == self.second {
            return Ok(x[0].clone());
        }
        array(dims, vec![0.0; elems(dims)?]).map(Array::F)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Err(d.unsupported())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.per_target(self.clone()))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        self.chosen() == Some(false) || x.is_zero(0)
    }

    fn equal_operand(&self, _x: &Knowledge<'_>) -> Option<usize> {
        (self.chosen() == Some(true)).then_some(0)
    }
}
