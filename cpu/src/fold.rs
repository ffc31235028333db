//! Summation of windows that a matrix product computed (col2im).

use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::parallel::{chunks, new_tensor};

/// Sums windows: `[n, g, c/g·taps, positions]` → `[n, c, …]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The window over a plane of the result.
    pub taps: Taps,
    /// Dimensions of the result.
    pub dims: Vec<usize>,
}

impl Op for Fold {
    fn name(&self) -> StaticName {
        "dlbc.Fold".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Fold {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let columns = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        let all = 0..self.taps.positions();
        let size = self.taps.count() * all.len();
        let y = new_tensor(&self.dims, |y| {
            chunks(y, self.taps.plane(), |i, y| {
                y.fill(0.0);
                self.taps.fold(&columns[i * size..][..size], &all, y);
            });
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Fold {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(DatumType::F32.fact(&self.dims)))
    }

    as_op!();
}
