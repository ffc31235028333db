//! Gather and scatter-add of float32 elements along an axis, with computed indices.

use tract_onnx::tract_core::internal::*;

use super::kernel::ValueError;
use super::parallel::{chunks, new_tensor};

/// Operation by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexOp {
    /// `(data, indices)`: the result is the data at the indices.
    Gather,
    /// `(updates, indices)`: the result is 0, plus each update at its index.
    ScatterAdd,
}

/// An access by index along an axis. Negative indices count from the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// Name of the node in the model, for messages.
    pub title: String,
    /// The operation.
    pub op: IndexOp,
    /// The indexed axis, of the data for a gather and of the result for a scatter-add.
    pub axis: usize,
    /// Size of the indexed axis.
    pub dim: usize,
    /// Dimensions of the result.
    pub dims: Vec<usize>,
}

impl Op for Indexing {
    fn name(&self) -> StaticName {
        format!("dlbc.{:?}", self.op).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Indexing {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let indices = inputs[1].try_as_plain_ram()?;
        let mut resolved = vec![];
        for i in indices.as_slice::<i64>()? {
            let from_start = if *i < 0 { i.saturating_add(self.dim as i64) } else { *i };
            match usize::try_from(from_start).ok().filter(|i| *i < self.dim) {
                Some(i) => resolved.push(i),
                None => return Err(ValueError::index(&self.title, *i, self.axis, self.dim).into()),
            }
        }
        let x = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        // Elements behind the indexed axis are the same for data and result.
        let inner: usize = match self.op {
            IndexOp::Gather => inputs[0].shape()[self.axis + 1..].iter().product(),
            IndexOp::ScatterAdd => self.dims[self.axis + 1..].iter().product(),
        };
        let (indexed, whole) = (resolved.len() * inner, self.dim * inner);
        let y = new_tensor(&self.dims, |y| match self.op {
            _ if y.is_empty() => {}
            IndexOp::Gather => chunks(y, indexed, |o, y| {
                let x = &x[o * whole..][..whole];
                for (row, i) in y.chunks_exact_mut(inner).zip(&resolved) {
                    row.copy_from_slice(&x[i * inner..][..inner]);
                }
            }),
            IndexOp::ScatterAdd => chunks(y, whole, |o, y| {
                let x = &x[o * indexed..][..indexed];
                let mut sums = vec![0f64; whole];
                for (row, i) in x.chunks_exact(inner).zip(&resolved) {
                    for (sum, v) in sums[i * inner..][..inner].iter_mut().zip(row) {
                        *sum += f64::from(*v);
                    }
                }
                y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum as f32);
            }),
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Indexing {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(DatumType::F32.fact(&self.dims)))
    }

    as_op!();
}
