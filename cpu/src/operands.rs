//! Operands of a running node.

use tract_onnx::tract_core::internal::*;

use super::parallel::new_tensor;

/// Operands of a running node, and the type of its result.
pub struct Operands<'a> {
    /// Values of the operands.
    pub inputs: &'a [TValue],
    /// Element type of the result.
    pub dtype: DatumType,
    /// Dimensions of the result.
    pub dims: &'a [usize],
}

impl Operands<'_> {
    /// Returns the elements of all operands, if they and the result are float32.
    pub fn floats(&self) -> TractResult<Option<Vec<&[f32]>>> {
        let float = self.dtype == DatumType::F32 && (0..self.inputs.len()).all(|i| self.is_float(i));
        if self.inputs.is_empty() || !float {
            return Ok(None);
        }
        (0..self.inputs.len()).map(|i| self.float(i)).collect::<TractResult<_>>().map(Some)
    }

    /// Returns the elements of operand `i`, which must be float32.
    pub fn float(&self, i: usize) -> TractResult<&[f32]> {
        self.inputs[i].try_as_plain_ram()?.as_slice::<f32>()
    }

    /// Returns whether operand `i` is float32.
    pub fn is_float(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(|t| t.datum_type() == DatumType::F32)
    }

    /// Returns whether each operand has as many elements as the result, or a single one.
    pub fn are_whole_or_single(&self) -> bool {
        let all: usize = self.dims.iter().product();
        self.inputs.iter().all(|t| t.len() == all || t.len() == 1)
    }

    /// Returns the dimensions of operand `i`.
    pub fn shape(&self, i: usize) -> &[usize] {
        self.inputs[i].shape()
    }

    /// Creates a float32 result whose elements `fill` writes.
    pub fn result(&self, fill: impl Fn(&mut [f32])) -> TractResult<Option<Tensor>> {
        new_tensor(self.dims, fill).map(Some)
    }
}
