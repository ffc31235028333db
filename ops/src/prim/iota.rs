//! Ascending integers.

use ndarray::ArrayD;

use super::contract::*;

/// The int64 vector `0, 1, …, len - 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Iota {
    /// Number of elements.
    pub len: Dim,
}

fields!(Iota { len: Dim });

impl Primitive for Iota {
    fn arity(&self) -> RangeInclusive<usize> {
        0..=0
    }

    fn infer(&self, _x: &[TensorType]) -> Result<TensorType, OpError> {
        Ok(TensorType::new(DType::I64, vec![self.len.clone()]))
    }

    fn evaluate(&self, _x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        Ok(Array::I(ArrayD::from_shape_fn(dims, |i| i[0] as i64)))
    }

    fn adjoint(&self, _d: &mut Adjoint<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn with_targets(&self, _t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Err(TargetAxis::reads_nothing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{error, eval, ints};

    #[test]
    fn indices_count_from_0() {
        assert_eq!(eval(Iota { len: Dim::known(3) }, &[]), ints(&[3], &[0, 1, 2]));
        assert!(error(Iota { len: Dim::known(i64::MAX) }, &[]).contains("elements"));
    }
}
