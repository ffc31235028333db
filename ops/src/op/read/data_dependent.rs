//! Dimensions that are computed from values: measured in a run.

use super::super::{Cast, Extremum, Op, Slice};
use super::{MAX_RANK, Reading, computed};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape};

impl Reading<'_> {
    /// The dimensions of an integer operand. Those that depend on the input's values become measured ones.
    ///
    /// # Errors
    /// When they are no integers, or more than can be measured.
    pub fn dims_of(&mut self, v: Value, what: &str) -> Result<Vec<Dim>, OpError> {
        match self.static_dims_of(v, what) {
            Err(OpError::Unsupported(_)) => self.data_dependent_dims(v, what),
            actual => actual,
        }
    }

    /// The dimensions of an integer operand that is computed from values: what is known of a concatenation, the rest measured.
    fn data_dependent_dims(&mut self, v: Value, what: &str) -> Result<Vec<Dim>, OpError> {
        let ty = self.ty(v);
        if let Some(known) = self.dims(v) {
            return Ok(known);
        }
        let count = ty.shape.elems().as_known().filter(|n| (0..=MAX_RANK as i64).contains(n));
        let count = count.ok_or_else(|| computed(what))?;
        let inputs = self.graph.node_inputs(v.node);
        match self.graph.op(v.node) {
            Op::Concat(_) if ty.rank() == 1 => {
                let parts: Result<Vec<_>, _> =
                    inputs.into_iter().map(|x| self.data_dependent_dims(x, what)).collect();
                return Ok(parts?.concat());
            }
            Op::Reshape(_) => return self.data_dependent_dims(inputs[0], what),
            Op::Cast(_) if self.ty(inputs[0]).dtype.is_integer() => {
                return self.data_dependent_dims(inputs[0], what);
            }
            _ => {}
        }
        let flat = self.reshape(v, Shape(vec![Dim::known(count)]))?;
        let mut dims = vec![];
        for i in 0..count {
            let one = Slice { axis: 0, start: Dim::known(i), len: Dim::known(1), step: 1 };
            let one = if count == 1 { flat } else { self.add(one, &[flat])? };
            dims.push(self.dim_of(one, what)?);
        }
        Ok(dims)
    }

    /// The dimension that an integer value of one element is: known, or measured in a run.
    ///
    /// # Errors
    /// When the value has another number of elements.
    pub fn dim_of(&mut self, v: Value, what: &str) -> Result<Dim, OpError> {
        let one = self.reshape(v, Shape(vec![]))?;
        let one = self.add(Cast { to: DType::I64 }, &[one])?;
        if let Some(known) = self.dims(one).and_then(|d| d.into_iter().next()) {
            return Ok(known);
        }
        let word: String = what.chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(self.graph.data_dependent_dim(&word, one))
    }

    /// Whether a dimension depends on measured ones.
    pub fn is_data_dependent(&self, dim: &Dim) -> bool {
        let mut actual = false;
        dim.symbols(&mut |s| actual |= self.graph.data_dependent_dims().iter().any(|(m, _)| m == s));
        actual
    }

    /// The smaller of two dimensions, or the greater: known, or measured in a run.
    ///
    /// # Errors
    /// None in practice; the size limit applies.
    pub fn extreme_dim(&mut self, a: &Dim, b: &Dim, max: bool) -> Result<Dim, OpError> {
        let (a, b) = (self.add_dims(vec![], vec![a.clone()])?, self.add_dims(vec![], vec![b.clone()])?);
        let v = self.add(Extremum { max }, &[a, b])?;
        self.dim_of(v, "size")
    }
}
