//! The starting relevance.

mod boxes;
mod chosen;
pub(crate) mod contrast;
mod convention;
mod pixels;
mod units;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dlbc_backend::{BackendError, Tensors};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::request::{Request, Start, Target};
use chosen::Chosen;

pub(crate) use chosen::Seed;
pub(crate) use convention::Convention;

/// Makes the seed of the output `name`: `[batch, position, unit]` or with positions first, `[batch, unit]`, `[unit]` or a single value; for all units
/// and for those above a threshold, any rows; for pixels and boxes as [`Pixels`] and [`Detector`] say.
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
    let values = output.to_f64();
    let chosen = match request.target {
        Target::Pixels(pixels) => pixels::choose(name, dims, &values, &pixels)?,
        Target::Box(target) => boxes::choose(name, outputs, &target, request)?,
        _ => units::choose(name, dims, &values, request)?,
    };
    let mut seed = vec![0.0f64; values.len()];
    let difference = matches!(request.target, Target::Difference(..));
    for (row, units) in chosen.rows.iter().enumerate() {
        let weights = match request.start {
            Start::Value => units.iter().map(|(at, weight)| values[*at] * weight.signum()).collect(),
            Start::One => convention.weights(units, &values, difference),
        };
        let factor = if request.start == Start::One { request.multiplier } else { 1.0 };
        for ((at, _), weight) in units.iter().zip(weights) {
            seed[*at] += factor * weight;
        }
        if let Some(total) = request.normalize_to {
            let places: BTreeSet<usize> = units.iter().map(|(at, _)| *at).collect();
            let size: f64 = places.iter().map(|at| seed[*at].abs()).sum();
            if size.is_nan() || size == 0.0 {
                return Err(RuntimeError::Total { output: name.into(), row, total });
            }
            places.iter().for_each(|at| seed[*at] *= total / size);
        }
    }
    let rounded: Vec<f32> = seed.iter().map(|v| *v as f32).collect();
    let tensor = Tensor::from_f32(dims, &rounded);
    let Chosen { argmax, targets, boxes, groups, region, .. } = chosen;
    Ok(Seed { tensor, argmax, targets, boxes, groups, region })
}
