//! Elements read and added by index along an axis, float32, where the indices are computed.

use tract_onnx::tract_core::internal::*;

use super::kernel::Refused;
use super::parallel::{chunks, made};

/// Which way elements move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `(data, indices)`: the result is the data at the indices.
    Gather,
    /// `(updates, indices)`: the result is zeros plus each update at its index.
    ScatterAdd,
}

/// An access by index along an axis of dimension `dim`; negative indices count from the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// The model's name of the node.
    pub title: String,
    /// The direction.
    pub way: Way,
    /// The axis of the data, or of the result.
    pub axis: usize,
    /// Its dimension.
    pub dim: usize,
    /// The dimensions of the result.
    pub dims: Vec<usize>,
}

impl Op for Indexing {
    fn name(&self) -> StaticName {
        format!("dlbc.{:?}", self.way).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Indexing {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let indices = inputs[1].try_as_plain_ram()?;
        let mut at = vec![];
        for i in indices.as_slice::<i64>()? {
            let from_start = if *i < 0 { i.saturating_add(self.dim as i64) } else { *i };
            match usize::try_from(from_start).ok().filter(|i| *i < self.dim) {
                Some(i) => at.push(i),
                None => return Err(Refused::index(&self.title, *i, self.axis, self.dim).into()),
            }
        }
        let x = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        // Around the indexed axis, of data and result alike.
        let inner: usize = match self.way {
            Way::Gather => inputs[0].shape()[self.axis + 1..].iter().product(),
            Way::ScatterAdd => self.dims[self.axis + 1..].iter().product(),
        };
        let (row, whole) = (at.len() * inner, self.dim * inner);
        let y = made(&self.dims, |y| match self.way {
            _ if y.is_empty() => {}
            Way::Gather => chunks(y, row, |o, y| {
                let x = &x[o * whole..][..whole];
                for (to, i) in y.chunks_exact_mut(inner).zip(&at) {
                    to.copy_from_slice(&x[i * inner..][..inner]);
                }
            }),
            Way::ScatterAdd => chunks(y, whole, |o, y| {
                let x = &x[o * row..][..row];
                let mut sums = vec![0f64; whole];
                for (from, i) in x.chunks_exact(inner).zip(&at) {
                    for (sum, v) in sums[i * inner..][..inner].iter_mut().zip(from) {
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
