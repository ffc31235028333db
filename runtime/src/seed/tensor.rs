//! Seeds that the caller sets element by element.

use dlbc_ops::tensor::Tensor;

use super::selection::{Seed, argmax};
use crate::error::RuntimeError;

/// Returns the seed of the output `name` that is the tensor `start`, in float32.
///
/// # Errors
/// When the shape of `start` is not that of the output, or an element is NaN or infinite.
pub(super) fn seed(name: &str, output: &Tensor, start: &Tensor) -> Result<Seed, RuntimeError> {
    let error =
        |expected: String, actual: String| RuntimeError::Seed { output: name.into(), expected, actual };
    let dims = output.dims();
    if start.dims() != dims {
        return Err(error(format!("shape {dims:?}"), format!("{:?}", start.dims())));
    }
    let values = start.to_f32();
    if let Some(value) = values.iter().find(|v| !v.is_finite()) {
        return Err(error("finite numbers".into(), value.to_string()));
    }
    let tensor = Tensor::from_f32(dims, &values);
    // Outputs of more axes have several positions, none of which is the explained one.
    let argmax = match dims {
        [_] | [_, _] if output.elems() > 0 => {
            let units = dims[dims.len() - 1];
            output.to_f64().chunks(units).map(|row| argmax(row) as i64).collect()
        }
        _ => vec![],
    };
    Ok(Seed { tensor, argmax, targets: vec![], boxes: vec![], groups: vec![], independent: false })
}
