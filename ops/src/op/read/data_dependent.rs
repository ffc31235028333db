//! Dimensions that depend on the values of a run.

use super::super::{Cast, Extremum, Op, Slice};
use super::{MAX_RANK, Reading, computed};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

impl Reading<'_> {
    /// Returns the dimensions in an integer operand. Those that depend on the input's values become data-dependent
    /// dimensions.
    ///
    /// # Errors
    /// If the operand is not of integers, or has more elements than a shape can have.
    pub fn dims_of(&mut self, v: Value, property: &str) -> Result<Vec<Dim>, OpError> {
        match self.static_dims_of(v, property) {
            Err(OpError::Unsupported(_)) => self.data_dependent_dims(v, property),
            dims => dims,
        }
    }

    /// Returns the dimensions in an integer operand that is computed from values: the known parts of a concatenation,
    /// and data-dependent dimensions for the rest.
    fn data_dependent_dims(&mut self, v: Value, property: &str) -> Result<Vec<Dim>, OpError> {
        let ty = self.ty(v);
        if let Some(known) = self.dims(v) {
            return Ok(known);
        }
        let count = ty.shape.elems().as_known().filter(|n| (0..=MAX_RANK as i64).contains(n));
        let count = count.ok_or_else(|| computed(property))?;
        let inputs = self.graph.node_inputs(v.node);
        match self.graph.op(v.node) {
            Op::Concat(_) if ty.rank() == 1 => {
                let parts: Result<Vec<_>, _> =
                    inputs.into_iter().map(|x| self.data_dependent_dims(x, property)).collect();
                return Ok(parts?.concat());
            }
            Op::Reshape(_) => return self.data_dependent_dims(inputs[0], property),
            Op::Cast(_) if self.ty(inputs[0]).dtype.is_integer() => {
                return self.data_dependent_dims(inputs[0], property);
            }
            _ => {}
        }
        let flat = self.reshape(v, Shape(vec![Dim::known(count)]))?;
        let mut dims = vec![];
        for i in 0..count {
            let element = Slice { axis: 0, start: Dim::known(i), len: Dim::known(1), step: 1 };
            let element = if count == 1 { flat } else { self.add(element, &[flat])? };
            dims.push(self.dim_of(element, property)?);
        }
        Ok(dims)
    }

    /// Returns the dimension that an integer value of one element holds: known, or data-dependent.
    ///
    /// # Errors
    /// If the value does not have exactly one element.
    pub fn dim_of(&mut self, v: Value, property: &str) -> Result<Dim, OpError> {
        let scalar = self.reshape(v, Shape(vec![]))?;
        let scalar = self.add(Cast { to: DType::I64 }, &[scalar])?;
        if let Some(known) = self.dims(scalar).and_then(|d| d.into_iter().next()) {
            return Ok(known);
        }
        let prefix: String = property.chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(self.graph.data_dependent_dim(&prefix, scalar))
    }

    /// Returns whether a dimension depends on data-dependent ones.
    pub fn is_data_dependent(&self, dim: &Dim) -> bool {
        let mut depends = false;
        dim.symbols(&mut |s| {
            depends |= self.graph.data_dependent_dims().iter().any(|(symbol, _)| symbol == s)
        });
        depends
    }

    /// Returns the larger of two dimensions: known, or data-dependent.
    ///
    /// # Errors
    /// Only the size limit, which a scalar does not reach.
    pub fn larger_dim(&mut self, a: &Dim, b: &Dim) -> Result<Dim, OpError> {
        self.extreme_dim(a, b, true)
    }

    /// Returns the smaller of two dimensions: known, or data-dependent.
    ///
    /// # Errors
    /// Only the size limit, which a scalar does not reach.
    pub fn smaller_dim(&mut self, a: &Dim, b: &Dim) -> Result<Dim, OpError> {
        self.extreme_dim(a, b, false)
    }

    fn extreme_dim(&mut self, a: &Dim, b: &Dim, max: bool) -> Result<Dim, OpError> {
        let (a, b) = (self.add_dims(vec![], vec![a.clone()])?, self.add_dims(vec![], vec![b.clone()])?);
        let v = self.add(Extremum { max }, &[a, b])?;
        self.dim_of(v, "size")
    }
}
