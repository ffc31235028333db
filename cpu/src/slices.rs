//! Operands of a node as slices.

use tract_onnx::tract_core::internal as tr;

/// Returns the operands of a node as float32 slices.
pub fn slices(inputs: &tr::TVec<tr::TValue>) -> tr::TractResult<tr::TVec<&[f32]>> {
    inputs.iter().map(|t| t.try_as_plain_ram()?.as_slice::<f32>()).collect()
}
