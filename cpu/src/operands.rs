//! Operands of a node while it runs.

use tract_onnx::tract_core::internal::*;

use super::parallel::made;

/// Operands of a node, and the type of its result.
pub struct Operands<'a> {
    /// The operands.
    pub inputs: &'a [TValue],
    /// Element type of the result.
    pub dtype: DatumType,
    /// Dimensions of the result.
    pub dims: &'a [usize],
}

impl Operands<'_> {
    /// The operands' elements, where they and the result are float32.
    pub fn floats(&self) -> TractResult<Option<Vec<&[f32]>>> {
        let float = self.dtype == DatumType::F32 && (0..self.inputs.len()).all(|i| self.is_float(i));
        if self.inputs.is_empty() || !float {
            return Ok(None);
        }
        (0..self.inputs.len()).map(|i| self.float(i)).collect::<TractResult<_>>().map(Some)
    }

    /// The elements of operand `i`, which is float32.
    pub fn float(&self, i: usize) -> TractResult<&[f32]> {
        self.inputs[i].try_as_plain_ram()?.as_slice::<f32>()
    }

    /// Whether operand `i` is float32.
    pub fn is_float(&self, i: usize) -> bool {
        self.inputs.get(i).is_some_and(|t| t.datum_type() == DatumType::F32)
    }

    /// Whether each operand has as many elements as the result, or one.
    pub fn are_whole_or_single(&self) -> bool {
        let all: usize = self.dims.iter().product();
        self.inputs.iter().all(|t| t.len() == all || t.len() == 1)
    }

    /// The dimensions of operand `i`.
    pub fn shape(&self, i: usize) -> &[usize] {
        self.inputs[i].shape()
    }

    /// A float32 result that `fill` writes.
    pub fn result(&self, fill: impl Fn(&mut [f32])) -> TractResult<Option<Tensor>> {
        made(self.dims, fill).map(Some)
    }
}
