//! Explanations that are means over runs of one program of derivatives: integrated gradients and SmoothGrad.

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{AsViews, BackendError, RunControl, Tensors, Views};
use dlbc_ops::program::{Baseline, Output, Repeat, TrackKind};
use dlbc_ops::quadrature::gauss_legendre;
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{Explanation, Timings, Track};
use crate::ledger::wanted;
use crate::plan::executor::{Executor, Prediction};
use crate::random::Random;
use crate::request::{Request, Start};
use crate::rows;
use crate::seed::{Convention, seed};

/// Rows of a run at most, unless the caller's own are more: memory does not grow with the number of runs.
const ROWS: usize = 16;

/// The runs that a mean is over: the moved inputs of each, and its weight.
type Points = Vec<(Tensors, f64)>;

/// Explains by several runs. The target is that of the unmoved inputs. With `--start value` derivatives are of the target
/// itself, else of the target times the multiplier.
pub(crate) fn explain(
    executor: &Executor,
    repeat: &Repeat,
    inputs: &Views<'_>,
    request: &Request,
) -> Result<Explanation, RuntimeError> {
    let info = &executor.program().info;
    let books = request.ledger || request.modules || request.heads;
    if books || request.keep_all || !request.keep.is_empty() {
        return Err(RuntimeError::Repeated { rules: info.rules.clone() });
    }
    let moved: Vec<&String> = info.inputs.iter().filter(|i| i.explained).map(|i| &i.name).collect();
    let whole = info.inputs.iter().find(|i| i.explained && !i.ty.dtype.is_float());
    if let Some(input) = whole {
        let (rules, ty) = (info.rules.clone(), input.ty.to_string());
        return Err(RuntimeError::Whole { rules, input: input.name.clone(), ty });
    }
    let run = executor.run(request.cancel.as_ref());
    let clock = Instant::now();
    let Prediction { outputs, baselines: scaled } = executor.predict(inputs, run)?;
    let forward = clock.elapsed().as_secs_f64();
    // Moved inputs are tensors of their own, and so is what they are moved from.
    let inputs: &Tensors = &inputs.iter().map(|(name, view)| (name.clone(), view.to_tensor())).collect();

    let clock = Instant::now();
    let explained =
        outputs.get(&info.explained).ok_or_else(|| BackendError::MissingInput(info.explained.clone()))?;
    let multiplier = if request.start == Start::Value { 1.0 } else { request.multiplier };
    let request = request.clone().start(Start::One).multiplier(multiplier);
    // Derivatives of a unit and of a difference, whatever their values.
    let seed = seed(&info.explained, &outputs, &request, &Convention::default())?;
    let open = rows::open(executor.program());
    let (points, baseline) = match repeat {
        Repeat::IntegratedGradients { steps, baseline } => {
            let own = chosen(request.baseline.as_ref(), inputs, &moved, open)?;
            let start = moved_by(inputs, &moved, |i, t| match (own.get(moved[i]), scaled.get(moved[i])) {
                (Some(own), _) => own.clone(),
                (None, Some(scaled)) if *baseline == Baseline::Scaler => {
                    rebuilt(t, scaled.to_f64().into_iter())
                }
                _ => per_row(t, open, |row| filled(row, *baseline)),
            });
            (path(inputs, &start, &moved, *steps), Some(start))
        }
        Repeat::SmoothGrad { samples, noise, seed } => {
            (noisy(inputs, &moved, open, *samples, *noise, *seed), None)
        }
    };
    let mut means = mean((executor, run), points, &seed.tensor, &moved, open)?;
    let mut start: f64 = seed.tensor.to_f64().iter().sum();
    if let Some(baseline) = baseline {
        for (name, mean) in &mut means {
            let (x, b) = (inputs[name].to_f64(), baseline[name].to_f64());
            mean.iter_mut().zip(x.iter().zip(&b)).for_each(|(g, (x, b))| *g *= x - b);
        }
        let there = executor.predict(&baseline.views(), run)?.outputs;
        let (here, there) = (explained.to_f64(), there[&info.explained].to_f64());
        let weights = seed.tensor.to_f64();
        start = weights.iter().zip(here.iter().zip(&there)).map(|(w, (x, b))| w * (x - b)).sum();
    }
    let inputs_sum: BTreeMap<String, f64> =
        means.iter().map(|(name, m)| (name.clone(), m.iter().sum())).collect();
    let relevance = means.iter().map(|(name, mean)| {
        let values: Vec<f32> = mean.iter().map(|v| *v as f32).collect();
        (name.clone(), Tensor::from_f32(inputs[name].dims(), &values))
    });
    let relevance: Tensors = relevance.collect();
    let absorbed = start - inputs_sum.values().sum::<f64>();
    let timings = Timings { prepare: 0.0, forward, reverse: clock.elapsed().as_secs_f64() };
    let supporting = Track {
        kind: TrackKind::Single,
        relevance,
        start,
        inputs: inputs_sum,
        absorbed,
        ledger: None,
        modules: None,
        heads: None,
    };
    Ok(Explanation {
        outputs,
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

/// The baselines that a request names, each of its input's shape.
fn chosen(
    baseline: Option<&Tensors>,
    inputs: &Tensors,
    moved: &[&String],
    open: bool,
) -> Result<Tensors, RuntimeError> {
    let mut chosen = Tensors::new();
    for (name, tensor) in baseline.into_iter().flatten() {
        let Some(like) = inputs.get(name).filter(|_| moved.contains(&name)) else {
            let known = moved.iter().map(|n| format!("`{n}`")).collect();
            return Err(RuntimeError::UnknownInput { name: name.clone(), known });
        };
        let fault =
            |expected: String, found: String| RuntimeError::Baseline { input: name.clone(), expected, found };
        let values = tensor.to_f64();
        if let Some(value) = values.iter().find(|v| !v.is_finite()) {
            return Err(fault("finite values".into(), value.to_string()));
        }
        let (dims, own) = (like.dims(), tensor.dims());
        let row = dims.get(1..).unwrap_or(&[]);
        if own != dims && !(open && (own == row || own.split_first() == Some((&1, row)))) {
            let of_rows = if open { format!(" or {row:?}") } else { String::new() };
            return Err(fault(format!("shape {dims:?}{of_rows}"), format!("{own:?}")));
        }
        let all = values.iter().copied().cycle().take(like.elems());
        chosen.insert(name.clone(), rebuilt(like, all));
    }
    Ok(chosen)
}

/// The inputs with those of `names` changed.
fn moved_by(inputs: &Tensors, names: &[&String], change: impl Fn(usize, &Tensor) -> Tensor) -> Tensors {
    let mut moved = inputs.clone();
    for (i, name) in names.iter().enumerate() {
        if let Some(tensor) = moved.get_mut(*name) {
            *tensor = change(i, tensor);
        }
    }
    moved
}

/// A tensor changed row by row, so that a batch is what its rows are; as one row where rows are none.
fn per_row(tensor: &Tensor, open: bool, change: impl Fn(&[f64]) -> Vec<f64>) -> Tensor {
    let rows = if open { tensor.dims().first().copied().unwrap_or(1) } else { 1 };
    let values = tensor.to_f64();
    let size = values.len().checked_div(rows).unwrap_or(0).max(1);
    rebuilt(tensor, values.chunks(size).flat_map(change))
}

fn rebuilt(like: &Tensor, values: impl Iterator<Item = f64>) -> Tensor {
    let bytes: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
    let tensor =
        Tensor::from_bytes(dlbc_ops::tensor::DType::F64, like.dims().to_vec(), std::sync::Arc::new(bytes));
    tensor.map_or_else(|| like.clone(), |t| dlbc_ops::tensor::Array::from_tensor(&t).to_tensor(like.dtype()))
}

fn filled(row: &[f64], baseline: Baseline) -> Vec<f64> {
    let value = match baseline {
        Baseline::Value(value) => value,
        // An input that no scaler shifts.
        Baseline::Scaler => 0.0,
        Baseline::Smallest => row.iter().copied().fold(f64::INFINITY, f64::min),
        Baseline::Largest => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Baseline::Mean => row.iter().sum::<f64>() / row.len().max(1) as f64,
    };
    vec![value; row.len()]
}

/// The points of a Gauss-Legendre quadrature on the straight line from `start` to the inputs [sundararajan2017].
fn path(inputs: &Tensors, start: &Tensors, moved: &[&String], steps: usize) -> Points {
    let point = |(at, weight): (f64, f64)| {
        let between = moved_by(inputs, moved, |i, x| {
            let (b, x64) = (start[moved[i]].to_f64(), x.to_f64());
            rebuilt(x, b.iter().zip(&x64).map(|(b, x)| b + at * (x - b)))
        });
        (between, weight)
    };
    gauss_legendre(steps).into_iter().map(point).collect()
}

/// Inputs with normal noise, its deviation a share of the range of each row [smilkov2017].
fn noisy(inputs: &Tensors, moved: &[&String], open: bool, samples: usize, noise: f64, seed: u64) -> Points {
    let sample = |s: usize| {
        let tensors = moved_by(inputs, moved, |i, x| {
            per_row(x, open, |row| {
                // The same for every row: a batch is what its rows are.
                let mut random = Random::new(seed, ((i as u64) << 32) + s as u64);
                let least = row.iter().copied().fold(f64::INFINITY, f64::min);
                let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                row.iter().map(|v| v + noise * (greatest - least) * random.normal()).collect()
            })
        });
        (tensors, 1.0 / samples as f64)
    };
    (0..samples).map(sample).collect()
}

/// The weighted sum of the derivatives at the points, several of them in a run.
fn mean(
    (executor, run): (&Executor, RunControl<'_>),
    points: Points,
    seed: &Tensor,
    moved: &[&String],
    open: bool,
) -> Result<BTreeMap<String, Vec<f64>>, RuntimeError> {
    let rows = seed.dims().first().copied().unwrap_or(1).max(1);
    // Chunks of one size share a plan.
    let most = if open { (ROWS / rows).max(1) } else { 1 };
    let size = (1..=most).rev().find(|n| points.len().is_multiple_of(*n)).unwrap_or(1);
    let name = "seed".to_string();
    let own = Tensors::from([(name.clone(), seed.clone())]);
    let reverse = wanted(executor.program(), &Request::default())?;
    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for chunk in points.chunks(size) {
        let made = match chunk {
            [(only, _)] => executor.pull(&only.views(), reverse.clone(), seed, run)?,
            _ => {
                let tensors: Vec<&Tensors> = chunk.iter().map(|(t, _)| t).collect();
                let broken = || BackendError::Node("rows of different shapes".into());
                let stacked = rows::stack(&tensors).ok_or_else(broken)?;
                let seeds = rows::stack(&vec![&own; chunk.len()]).ok_or_else(broken)?;
                executor.pull(&stacked.views(), reverse.clone(), &seeds[&name], run)?
            }
        };
        for input in moved {
            let values = made[&Output::relevance(TrackKind::Single, input.as_str())].to_f64();
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
    fn baselines_are_of_each_row() {
        let tensor = Tensor::from_f32(&[2, 2], &[1.0, 3.0, -2.0, 4.0]);
        let of = |open, baseline| per_row(&tensor, open, |row| filled(row, baseline)).to_f32();
        assert_eq!(of(true, Baseline::Smallest), [1.0, 1.0, -2.0, -2.0]);
        assert_eq!(of(true, Baseline::Mean), [2.0, 2.0, 1.0, 1.0]);
        assert_eq!(of(false, Baseline::Largest), [4.0; 4]);
        assert_eq!(of(true, Baseline::Value(0.5)), [0.5; 4]);
    }
}
