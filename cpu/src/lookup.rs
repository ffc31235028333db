//! Lookup of rows in a constant table. Only the rows that are read are converted.

use std::sync::Arc;

use dlbc_ops::tensor::{DType, Tensor as Constant};
use tract_onnx::tract_core::internal::*;

use super::kernel::ValueError;
use super::weights::{datum, to_tract, widen};

/// `gather(table, indices)` along the first axis; negative indices count from the end.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name of the node in the model, for messages.
    title: String,
    /// Table of floats or integers.
    table: Constant,
}

impl Lookup {
    /// Creates a lookup in `table`; `None` if the table has no rows of numbers.
    pub fn new(title: String, table: &Constant) -> Option<Lookup> {
        let has_rows = table.dtype() != DType::Bool && !table.dims().is_empty();
        has_rows.then(|| Lookup { title, table: table.clone() })
    }

    fn dims(&self, indices: &[usize]) -> Vec<usize> {
        [indices, &self.table.dims()[1..]].concat()
    }
}

// tract merges nodes with equal operators; tables are compared by identity.
impl PartialEq for Lookup {
    fn eq(&self, other: &Lookup) -> bool {
        let type_and_memory = |t: &Constant| (t.dtype(), t.identity());
        self.title == other.title && type_and_memory(&self.table) == type_and_memory(&other.table)
    }
}

impl Eq for Lookup {}

impl Op for Lookup {
    fn name(&self) -> StaticName {
        "dlbc.Lookup".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Lookup {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let rows = self.table.dims()[0];
        let size = self.table.elems().checked_div(rows).unwrap_or(0);
        let (indices, dims) = (inputs[0].try_as_plain_ram()?, self.dims(inputs[0].shape()));
        let row = |i: &i64| {
            let row = if *i < 0 { i + rows as i64 } else { *i };
            let is_row = (0..rows as i64).contains(&row);
            is_row.then_some(row as usize).ok_or_else(|| ValueError::index(&self.title, *i, 0, rows))
        };
        let indices =
            indices.as_slice::<i64>()?.iter().map(row).collect::<Result<Vec<usize>, ValueError>>()?;
        let result = if let Some(values) = self.table.as_f32() {
            let rows: Vec<f32> =
                indices.iter().flat_map(|row| &values[row * size..][..size]).copied().collect();
            Tensor::from_shape(&dims, &rows)?
        } else if let Some(values) = self.table.as_compact() {
            let mut rows = vec![0.0; indices.len() * size];
            let pairs = rows.chunks_exact_mut(size.max(1)).zip(&indices);
            pairs.for_each(|(to, row)| widen(values, row * size, to));
            Tensor::from_shape(&dims, &rows)?
        } else {
            let size = size * self.table.dtype().size_bytes();
            let bytes = self.table.bytes();
            let rows: Vec<u8> =
                indices.iter().flat_map(|row| &bytes[row * size..][..size]).copied().collect();
            let rows = Constant::from_bytes(self.table.dtype(), dims, Arc::new(rows));
            to_tract(&rows.context("rows: expected bytes that fill the result")?.view())?
        };
        Ok(tvec!(result.into()))
    }
}

impl TypedOp for Lookup {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let indices = inputs[0].shape.as_concrete().unwrap_or_default();
        Ok(tvec!(datum(self.table.dtype()).fact(self.dims(indices))))
    }

    as_op!();
}
