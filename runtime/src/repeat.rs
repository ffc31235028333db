//! Composites that average the derivatives of several runs: integrated gradients and SmoothGrad.

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{AsViews, BackendError, RunControl, Tensors, Views};
use dlbc_ops::program::{Baseline, Output, Repeat, TrackKind};
use dlbc_ops::quadrature::gauss_legendre;
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{Explanation, Timings, Track};
use crate::ledger::requested_outputs;
use crate::plan::executor::{Executor, Prediction};
use crate::random::Random;
use crate::request::{Request, SeedValue};
use crate::rows;
use crate::seed::{Convention, seed};

/// Largest number of rows that are batched into a run, unless the caller passes more: it bounds the memory.
const ROWS: usize = 16;

/// Points of an average: the perturbed inputs and the weight of each.
type Points = Vec<(Tensors, f64)>;

/// Explains by the average of several runs. The target is determined at the caller's inputs. With [`SeedValue::Value`] the derivatives
/// are those of the target itself, else those of the target times the multiplier.
///
/// # Errors
/// When the request asks for a ledger or intermediate tensors, an explained input is an integer tensor, or a baseline does not
/// fit.
pub(crate) fn explain(
    executor: &Executor,
    repeat: &Repeat,
    inputs: &Views<'_>,
    request: &Request,
) -> Result<Explanation, RuntimeError> {
    let info = &executor.program().info;
    let wants_ledger = request.ledger || request.modules || request.heads;
    if wants_ledger || request.keep_all || !request.keep.is_empty() {
        return Err(RuntimeError::AveragedComposite { rules: info.rules.clone() });
    }
    let perturbed: Vec<&String> = info.inputs.iter().filter(|i| i.explained).map(|i| &i.name).collect();
    let integer = info.inputs.iter().find(|i| i.explained && !i.ty.dtype.is_float());
    if let Some(input) = integer {
        let (rules, ty) = (info.rules.clone(), input.ty.to_string());
        return Err(RuntimeError::IntegerInput { rules, input: input.name.clone(), ty });
    }
    let run = executor.run(request.cancel.as_ref());
    let clock = Instant::now();
    let Prediction { outputs, baselines: scaled } = executor.predict(inputs, run)?;
    let forward = clock.elapsed().as_secs_f64();
    // Perturbed inputs are new tensors, computed from copies of the caller's.
    let inputs: &Tensors = &inputs.iter().map(|(name, view)| (name.clone(), view.to_tensor())).collect();

    let clock = Instant::now();
    let explained =
        outputs.get(&info.explained).ok_or_else(|| BackendError::MissingInput(info.explained.clone()))?;
    let multiplier = if request.seed_value == SeedValue::Value { 1.0 } else { request.multiplier };
    let request = request.clone().seed_value(SeedValue::One).multiplier(multiplier);
    // Derivatives have no sign convention, so the default one serves.
    let seed = seed(&info.explained, &outputs, &request, &Convention::default())?;
    let free_batch = rows::has_free_batch(executor.program());
    let (points, baselines) = match repeat {
        Repeat::IntegratedGradients { steps, baseline } => {
            let requested = requested_baselines(request.baseline.as_ref(), inputs, &perturbed, free_batch)?;
            let baselines = with_changed(inputs, &perturbed, |i, t| {
                match (requested.get(perturbed[i]), scaled.get(perturbed[i])) {
                    (Some(tensor), _) => tensor.clone(),
                    (None, Some(scaled)) if *baseline == Baseline::Scaler => {
                        tensor_like(t, scaled.to_f64().into_iter())
                    }
                    _ => map_rows(t, free_batch, |row| constant_row(row, *baseline)),
                }
            });
            (straight_path(inputs, &baselines, &perturbed, *steps), Some(baselines))
        }
        Repeat::SmoothGrad { samples, noise, seed } => {
            let noise = Noise { samples: *samples, scale: *noise, seed: *seed };
            (noisy_samples(inputs, &perturbed, free_batch, noise), None)
        }
    };
    let mut means = mean_derivatives((executor, run), points, &seed.tensor, &perturbed, free_batch)?;
    let mut seed_sum: f64 = seed.tensor.to_f64().iter().sum();
    if let Some(baselines) = baselines {
        for (name, mean) in &mut means {
            let (x, b) = (inputs[name].to_f64(), baselines[name].to_f64());
            mean.iter_mut().zip(x.iter().zip(&b)).for_each(|(g, (x, b))| *g *= x - b);
        }
        // The attributions sum to the difference of the target between inputs and baselines.
        let at_baselines = executor.predict(&baselines.views(), run)?.outputs;
        let (at_inputs, at_baselines) = (explained.to_f64(), at_baselines[&info.explained].to_f64());
        let weights = seed.tensor.to_f64();
        let pairs = weights.iter().zip(at_inputs.iter().zip(&at_baselines));
        seed_sum = pairs.map(|(w, (x, b))| w * (x - b)).sum();
    }
    let input_sums: BTreeMap<String, f64> =
        means.iter().map(|(name, m)| (name.clone(), m.iter().sum())).collect();
    let relevance = means.iter().map(|(name, mean)| {
        let values: Vec<f32> = mean.iter().map(|v| *v as f32).collect();
        (name.clone(), Tensor::from_f32(inputs[name].dims(), &values))
    });
    let relevance: Tensors = relevance.collect();
    let absorbed = seed_sum - input_sums.values().sum::<f64>();
    let timings = Timings { prepare: 0.0, forward, reverse: clock.elapsed().as_secs_f64() };
    let supporting = Track {
        kind: TrackKind::Single,
        relevance,
        seed_sum,
        input_sums,
        absorbed,
        ledger: None,
        modules: None,
        heads: None,
    };
    Ok(Explanation {
        outputs,
        at_positions: None,
        seed: seed.tensor,
        argmax: seed.argmax,
        targets: seed.targets,
        boxes: seed.boxes,
        supporting,
        opposing: None,
        experts: None,
        timings,
    })
}

/// Expands the baselines of a request to the shapes of their inputs.
///
/// # Errors
/// When a name is not a perturbed input, or a baseline does not fit its shape or is not finite.
fn requested_baselines(
    baseline: Option<&Tensors>,
    inputs: &Tensors,
    perturbed: &[&String],
    free_batch: bool,
) -> Result<Tensors, RuntimeError> {
    let mut baselines = Tensors::new();
    for (name, tensor) in baseline.into_iter().flatten() {
        let Some(like) = inputs.get(name).filter(|_| perturbed.contains(&name)) else {
            let known = perturbed.iter().map(|n| format!("`{n}`")).collect();
            return Err(RuntimeError::UnknownInput { name: name.clone(), known });
        };
        let fault = |expected: String, actual: String| RuntimeError::Baseline {
            input: name.clone(),
            expected,
            actual,
        };
        let values = tensor.to_f64();
        if let Some(value) = values.iter().find(|v| !v.is_finite()) {
            return Err(fault("finite values".into(), value.to_string()));
        }
        let (dims, shape) = (like.dims(), tensor.dims());
        let row = dims.get(1..).unwrap_or(&[]);
        if shape != dims && !(free_batch && (shape == row || shape.split_first() == Some((&1, row)))) {
            let or_row = if free_batch { format!(" or {row:?}") } else { String::new() };
            return Err(fault(format!("shape {dims:?}{or_row}"), format!("{shape:?}")));
        }
        let all = values.iter().copied().cycle().take(like.elems());
        baselines.insert(name.clone(), tensor_like(like, all));
    }
    Ok(baselines)
}

/// Returns the inputs with the tensors `names` replaced by `change`, which takes the index in `names`.
fn with_changed(inputs: &Tensors, names: &[&String], change: impl Fn(usize, &Tensor) -> Tensor) -> Tensors {
    let mut changed = inputs.clone();
    for (i, name) in names.iter().enumerate() {
        if let Some(tensor) = changed.get_mut(*name) {
            *tensor = change(i, tensor);
        }
    }
    changed
}

/// Changes a tensor row by row, so that the rows of a batch do not affect one another. Without a free batch axis the tensor is a
/// single row.
fn map_rows(tensor: &Tensor, free_batch: bool, change: impl Fn(&[f64]) -> Vec<f64>) -> Tensor {
    let rows = if free_batch { tensor.dims().first().copied().unwrap_or(1) } else { 1 };
    let values = tensor.to_f64();
    let size = values.len().checked_div(rows).unwrap_or(0).max(1);
    tensor_like(tensor, values.chunks(size).flat_map(change))
}

/// Returns a tensor of the shape and element type of `like` with other values.
fn tensor_like(like: &Tensor, values: impl Iterator<Item = f64>) -> Tensor {
    let bytes: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
    let tensor =
        Tensor::from_bytes(dlbc_ops::tensor::DType::F64, like.dims().to_vec(), std::sync::Arc::new(bytes));
    tensor.map_or_else(|| like.clone(), |t| dlbc_ops::tensor::Array::from_tensor(&t).to_tensor(like.dtype()))
}

/// Returns a row filled with the value of a baseline.
fn constant_row(row: &[f64], baseline: Baseline) -> Vec<f64> {
    let value = match baseline {
        Baseline::Value(value) => value,
        // The model has no scaler for this input.
        Baseline::Scaler => 0.0,
        Baseline::Smallest => row.iter().copied().fold(f64::INFINITY, f64::min),
        Baseline::Largest => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Baseline::Mean => row.iter().sum::<f64>() / row.len().max(1) as f64,
    };
    vec![value; row.len()]
}

/// Returns the points of a Gauss-Legendre quadrature on the straight line from the baselines to the inputs [sundararajan2017].
fn straight_path(inputs: &Tensors, baselines: &Tensors, perturbed: &[&String], steps: usize) -> Points {
    let point = |(at, weight): (f64, f64)| {
        let interpolated = with_changed(inputs, perturbed, |i, x| {
            let (b, x64) = (baselines[perturbed[i]].to_f64(), x.to_f64());
            tensor_like(x, b.iter().zip(&x64).map(|(b, x)| b + at * (x - b)))
        });
        (interpolated, weight)
    };
    gauss_legendre(steps).into_iter().map(point).collect()
}

/// Noise of SmoothGrad.
struct Noise {
    /// Number of noisy samples.
    samples: usize,
    /// Standard deviation as a fraction of the range of each row.
    scale: f64,
    /// Seed of the random numbers.
    seed: u64,
}

/// Returns inputs with added Gaussian noise [smilkov2017].
fn noisy_samples(inputs: &Tensors, perturbed: &[&String], free_batch: bool, noise: Noise) -> Points {
    let Noise { samples, scale, seed } = noise;
    let sample = |s: usize| {
        let tensors = with_changed(inputs, perturbed, |i, x| {
            map_rows(x, free_batch, |row| {
                // Every row gets the same noise, so that the rows of a batch do not affect one another.
                let mut random = Random::new(seed, ((i as u64) << 32) + s as u64);
                let min = row.iter().copied().fold(f64::INFINITY, f64::min);
                let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.iter().map(|v| v + scale * (max - min) * random.normal()).collect()
            })
        });
        (tensors, 1.0 / samples as f64)
    };
    (0..samples).map(sample).collect()
}

/// Returns the weighted sum of the derivatives at the points, by input. A run computes several points as rows of a batch.
fn mean_derivatives(
    (executor, run): (&Executor, RunControl<'_>),
    points: Points,
    seed: &Tensor,
    perturbed: &[&String],
    free_batch: bool,
) -> Result<BTreeMap<String, Vec<f64>>, RuntimeError> {
    let rows = seed.dims().first().copied().unwrap_or(1).max(1);
    // Chunks of equal size share a plan.
    let limit = if free_batch { (ROWS / rows).max(1) } else { 1 };
    let size = (1..=limit).rev().find(|n| points.len().is_multiple_of(*n)).unwrap_or(1);
    let name = "seed".to_string();
    let seed_rows = Tensors::from([(name.clone(), seed.clone())]);
    let reverse = requested_outputs(executor.program(), &Request::default())?;
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for chunk in points.chunks(size) {
        let results = match chunk {
            [(inputs, _)] => executor.forward_and_reverse(&inputs.views(), reverse.clone(), seed, run)?,
            _ => {
                let tensors: Vec<&Tensors> = chunk.iter().map(|(t, _)| t).collect();
                let mismatch = || BackendError::Node("rows of different shapes".into());
                let inputs = rows::stack(&tensors).ok_or_else(mismatch)?;
                let seeds = rows::stack(&vec![&seed_rows; chunk.len()]).ok_or_else(mismatch)?;
                executor.forward_and_reverse(&inputs.views(), reverse.clone(), &seeds[&name], run)?
            }
        };
        for input in perturbed {
            let values = results[&Output::relevance(TrackKind::Single, input.as_str())].to_f64();
            let size = values.len() / chunk.len();
            let sum = sums.entry((*input).clone()).or_insert_with(|| vec![0.0; size]);
            for ((_, weight), part) in chunk.iter().zip(values.chunks(size.max(1))) {
                sum.iter_mut().zip(part).for_each(|(s, v)| *s += weight * v);
            }
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baselines_are_computed_per_row() {
        let tensor = Tensor::from_f32(&[2, 2], &[1.0, 3.0, -2.0, 4.0]);
        let baseline =
            |free_batch, kind| map_rows(&tensor, free_batch, |row| constant_row(row, kind)).to_f32();
        assert_eq!(baseline(true, Baseline::Smallest), [1.0, 1.0, -2.0, -2.0]);
        assert_eq!(baseline(true, Baseline::Mean), [2.0, 2.0, 1.0, 1.0]);
        assert_eq!(baseline(false, Baseline::Largest), [4.0; 4]);
        assert_eq!(baseline(true, Baseline::Value(0.5)), [0.5; 4]);
    }
}
