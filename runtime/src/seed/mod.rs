//! Seeds: the starting relevance of a reverse.

mod boxes;
pub(crate) mod contrast;
mod convention;
mod group;
mod pixels;
mod selection;
mod tensor;
mod units;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dlbc_backend::{BackendError, Tensors};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::request::{Request, SeedValue, Target};
use selection::Selection;

pub(crate) use convention::Convention;
pub(crate) use group::Group;
pub(crate) use selection::Seed;
pub(crate) use units::explained_positions;

/// Builds the seed of the output `name`.
///
/// For units the output is `[batch, position, unit]`, `[position, batch, unit]` with positions first, `[batch, unit]`, `[unit]` or
/// a single value. For all units and those above a threshold it may have any further axes. [`Pixels`](crate::Pixels) and
/// [`Detector`](crate::Detector) describe the other outputs.
///
/// # Errors
/// When the output does not fit the task or the target, the target is out of range, or the request's own seed does not fit the
/// output.
pub(crate) fn seed(
    name: &str,
    outputs: &Tensors,
    request: &Request,
    convention: &Convention,
) -> Result<Seed, RuntimeError> {
    let output = outputs.get(name).ok_or_else(|| BackendError::MissingInput(name.into()))?;
    let dims = output.dims();
    if let Some(task) = request.task.filter(|task| !task.fits(dims)) {
        let (task, expected) = (task.name(), task.expects());
        return Err(RuntimeError::Task { task, expected, output: name.into(), shape: dims.to_vec() });
    }
    if let Some(start) = &request.seed {
        return tensor::seed(name, output, start);
    }
    let values = output.to_f64();
    let selection = match request.target {
        Target::Pixels(pixels) => pixels::select(name, dims, &values, &pixels)?,
        Target::Box(target) => boxes::select(name, outputs, &target, request)?,
        _ => units::select(name, dims, &values, request)?,
    };
    let mut seed = vec![0.0f64; values.len()];
    for (row, units) in selection.rows.iter().enumerate() {
        let weights = match request.seed_value {
            SeedValue::Value => units.iter().map(|(at, weight)| values[*at] * weight.signum()).collect(),
            SeedValue::One => convention.weights(units, &values, &request.target),
        };
        let factor = if request.seed_value == SeedValue::One { request.multiplier } else { 1.0 };
        for ((at, _), weight) in units.iter().zip(weights) {
            seed[*at] += factor * weight;
        }
        if let Some(total) = request.normalize_to {
            let elements: BTreeSet<usize> = units.iter().map(|(at, _)| *at).collect();
            let size: f64 = elements.iter().map(|at| seed[*at].abs()).sum();
            if size.is_nan() || size == 0.0 {
                return Err(RuntimeError::ZeroSeed { output: name.into(), row, total });
            }
            elements.iter().for_each(|at| seed[*at] *= total / size);
        }
    }
    let rounded: Vec<f32> = seed.iter().map(|v| *v as f32).collect();
    let tensor = Tensor::from_f32(dims, &rounded);
    let Selection { argmax, targets, boxes, groups, independent, .. } = selection;
    Ok(Seed { tensor, argmax, targets, boxes, groups, independent })
}
