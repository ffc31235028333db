//! Symbolic dimensions as tensor values.

use super::contract::*;
use super::reference::layout::{array, known};
use crate::tensor::Tensor;

/// Int64 tensor of symbolic values, row-major, which are known once the symbols are bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dims {
    /// Dimensions of the tensor.
    pub dims: Vec<usize>,
    /// Elements of the tensor; as many as the product of `dims`.
    pub values: Vec<Dim>,
}

impl Dims {
    /// Returns the tensor if all values are known.
    pub fn constant(&self) -> Option<Tensor> {
        let values = self.values.iter().map(Dim::as_known).collect::<Option<Vec<i64>>>()?;
        Some(Tensor::from_i64(&self.dims, &values))
    }
}

impl Fields for Dims {
    fn name(&self) -> &'static str {
        "Dims"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        let Dims { dims, values } = self;
        visit(Field::Integers(dims, values));
    }

    fn dims_mut(&mut self, visit: &mut dyn FnMut(&mut Dim)) {
        self.values.iter_mut().for_each(visit);
    }

    fn text(&self) -> String {
        format!("dims={:?} values={:?}", self.dims, self.values)
    }
}

impl Primitive for Dims {
    fn arity(&self) -> RangeInclusive<usize> {
        0..=0
    }

    fn infer(&self, _x: &[TensorType]) -> Result<TensorType, OpError> {
        let dims = self.dims.iter().map(|d| Dim::known(*d as i64)).collect::<Shape>();
        Ok(TensorType::new(DType::I64, dims))
    }

    fn evaluate(&self, _x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        let values = self.values.iter().map(known).collect::<Result<Vec<i64>, _>>()?;
        array(dims, values).map(Array::I)
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
    use crate::prim::Prim;
    use crate::prim::tests::arrays::{error, eval, ints, known};
    use crate::tensor::Bindings;

    #[test]
    fn dimensions_are_numbers_once_they_are_bound() {
        let values = vec![Dim::symbol("n"), Dim::known(4)];
        let dims = Prim::from(Dims { dims: vec![2], values });
        assert_eq!(error(dims.clone(), &[]), "dimension: expected a known number, found n");
        let bound = dims.substitute(&Bindings::from([("n".into(), 3)]));
        assert_eq!(eval(bound, &[]), ints(&[2], &[3, 4]));
        let fixed = Dims { dims: vec![1, 2], values: known(&[5, 6]) };
        assert_eq!(eval(fixed, &[]), ints(&[1, 2], &[5, 6]));
        assert!(error(Dims { dims: vec![3], values: known(&[5]) }, &[]).contains("elements"));
    }
}
