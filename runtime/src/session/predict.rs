//! Runs without relevance.

use dlbc_ops::program::BASELINE;
use dlbc_ops::tensor::Tensor;

use super::{Session, outputs};
use crate::backend::Tensors;
use crate::error::RuntimeError;
use crate::seed::Convention;

impl Session {
    /// Runs the model alone: its outputs by name.
    ///
    /// # Errors
    /// For inputs that do not fit, sizes beyond the limit.
    pub fn predict(&self, inputs: &Tensors) -> Result<Tensors, RuntimeError> {
        Ok(self.predict_with_baselines(inputs)?.0)
    }

    /// Runs the model alone: its outputs by name, and the baselines that the program has by input.
    pub(crate) fn predict_with_baselines(
        &self,
        inputs: &Tensors,
    ) -> Result<(Tensors, Tensors), RuntimeError> {
        let mut made = self.ready(inputs, vec![], 1)?.forward()?.0;
        Convention::take(&self.program.info, &mut made);
        let (baselines, rest): (Tensors, Tensors) =
            made.into_iter().partition(|(name, _)| name.starts_with(BASELINE));
        let own = |(name, tensor): (String, Tensor)| (name[BASELINE.len()..].to_string(), tensor);
        Ok((outputs(rest), baselines.into_iter().map(own).collect()))
    }
}
