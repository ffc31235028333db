//! Lookup of rows in a constant table, which is read without a copy.

use dlbc_ops::tensor::Tensor as Constant;
use tract_onnx::tract_core::internal::*;

use super::kernel::ValueError;

/// `gather(table, indices)` along the first axis; negative indices count from the end.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Name of the node in the model, for messages.
    title: String,
    /// Table of float32 rows.
    table: Constant,
}

impl Lookup {
    /// Creates a lookup in `table`; `None` if the table cannot be read without a copy.
    pub fn new(title: String, table: &Constant) -> Option<Lookup> {
        (table.as_f32().is_some() && !table.dims().is_empty()).then(|| Lookup { title, table: table.clone() })
    }

    fn dims(&self, indices: &[usize]) -> Vec<usize> {
        [indices, &self.table.dims()[1..]].concat()
    }
}

// tract merges nodes with equal operators; tables are compared by identity.
impl PartialEq for Lookup {
    fn eq(&self, other: &Lookup) -> bool {
        self.title == other.title && std::ptr::eq(self.table.bytes(), other.table.bytes())
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
        let (rows, values) = (self.table.dims()[0], self.table.as_f32().unwrap_or_default());
        let size = self.table.elems().checked_div(rows).unwrap_or(0);
        let plain = inputs[0].try_as_plain_ram()?;
        let mut rows_read = Vec::with_capacity(inputs[0].len() * size);
        for i in plain.as_slice::<i64>()? {
            let row = if *i < 0 { i + rows as i64 } else { *i };
            if !(0..rows as i64).contains(&row) {
                return Err(ValueError::index(&self.title, *i, 0, rows).into());
            }
            rows_read.extend_from_slice(&values[row as usize * size..][..size]);
        }
        Ok(tvec!(Tensor::from_shape(&self.dims(inputs[0].shape()), &rows_read)?.into()))
    }
}

impl TypedOp for Lookup {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let indices = inputs[0].shape.as_concrete().unwrap_or_default();
        Ok(tvec!(DatumType::F32.fact(self.dims(indices))))
    }

    as_op!();
}
