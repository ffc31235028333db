//! Number of samples of an evaluation whose user names neither composites nor samples: as many as take about a minute.

use std::time::Instant;

use dlbc_runtime::Tensors;

use super::metric::Metric;
use super::plan::{Plan, stream};
use super::prepare::Prepared;
use super::subject::{Case, Method};
use crate::error::Result;

/// Approximate duration of an evaluation of the usual composites, in seconds.
const SECONDS: f64 = 60.0;

/// Number of samples below which metrics that need many explanations are left out.
const FEW: usize = 4;

/// Rows of the timed run of the model; curves ask for their answers in batches too.
const TOGETHER: usize = 8;

/// Cost of a sample, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds for the answers of the model that curves and subsets need, over all methods.
    pub answers: f64,
    /// Seconds for one explanation by each composite.
    pub explanations: f64,
}

impl Cost {
    /// Measures the first sample: a row of the model, and an explanation by each composite.
    ///
    /// # Errors
    /// As [`Method::explain`].
    pub fn measure(
        composites: &[&Method],
        prepared: &Prepared,
        metrics: &[Metric],
        plan: &Plan,
    ) -> Result<Cost> {
        let Some(case) = prepared.cases.first() else { return Ok(Cost::default()) };
        // The first run plans, the second shows what the others take.
        let row = timed(|| answer(prepared, case).map(|_| ()))? / TOGETHER as f64;
        let mut explanations = 0.0;
        for method in composites {
            explanations += timed(|| method.explain(case, case.target, stream::CONTROL).map(|_| ()))?;
        }
        let methods = (composites.len() + 2) as f64;
        Ok(Cost { answers: methods * row * passes(case, metrics, plan) as f64, explanations })
    }

    /// Returns the seconds that a sample takes with these metrics.
    fn of(self, metrics: &[Metric], plan: &Plan) -> f64 {
        let has = |m: Metric| metrics.contains(&m);
        let mut count = 1;
        count += if has(Metric::MaxSensitivity) { plan.draws } else { 0 };
        count += if has(Metric::RandomLogit) { 2 } else { 0 };
        count += if has(Metric::Randomisation) { plan.stages } else { 0 };
        self.answers + count as f64 * self.explanations
    }
}

/// Part of an evaluation that fits into about a minute.
#[derive(Debug, PartialEq)]
pub struct Budget {
    /// Number of samples, at least one.
    pub samples: usize,
    /// Metrics that are left out.
    pub left_out: Vec<Metric>,
    /// Share of the curves and subsets that fits, from 0 to 1; below 1 where one sample alone takes longer than a minute.
    pub share: f64,
}

/// Fits an evaluation into about a minute: reduces the number of samples, then leaves out metrics that need many
/// explanations, then thins curves and subsets.
pub fn fit(cost: Cost, samples: usize, metrics: &[Metric], plan: &Plan) -> Budget {
    let fitting = |metrics: &[Metric]| SECONDS / cost.of(metrics, plan).max(f64::MIN_POSITIVE);
    let budget = |most: f64, left_out| {
        let fitting = (most as usize).clamp(1, samples.max(1));
        Budget { samples: fitting, left_out, share: most.min(1.0) }
    };
    let with_all = fitting(metrics);
    if with_all >= FEW.min(samples) as f64 {
        return budget(with_all, vec![]);
    }
    let again = |m: &&Metric| matches!(m, Metric::MaxSensitivity | Metric::Randomisation);
    let left_out: Vec<Metric> = metrics.iter().filter(again).copied().collect();
    let remaining: Vec<Metric> = metrics.iter().filter(|m| !again(m)).copied().collect();
    budget(fitting(&remaining), left_out)
}

/// Returns the number of model answers that the curves and subsets of a sample need.
fn passes(case: &Case, metrics: &[Metric], plan: &Plan) -> usize {
    let has = |any: &[Metric]| any.iter().any(|m| metrics.contains(m));
    let curve = case.features.count().div_ceil(plan.step(case));
    let mut count = 0;
    count += if has(&[Metric::Morf, Metric::Gap, Metric::Deletion]) { curve } else { 0 };
    count += if has(&[Metric::Lerf, Metric::Gap]) { curve } else { 0 };
    count += if has(&[Metric::Insertion]) { curve } else { 0 };
    count += if has(&[Metric::RegionPerturbation]) { plan.regions } else { 0 };
    count += if has(&[Metric::FaithfulnessCorrelation]) { plan.runs } else { 0 };
    count
}

fn answer(prepared: &Prepared, case: &Case) -> Result<Vec<Vec<f64>>> {
    let rows = std::iter::repeat_with(|| -> Tensors { case.tensors.clone() });
    prepared.model.units(rows.take(TOGETHER), TOGETHER, case.position)
}

fn timed(run: impl Fn() -> Result<()>) -> Result<f64> {
    run()?;
    let clock = Instant::now();
    run()?;
    Ok(clock.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_model_takes_all_samples_and_a_slow_one_few() {
        let metrics = [Metric::Gap, Metric::MaxSensitivity, Metric::Randomisation];
        let budget = |answers, explanations, samples| {
            fit(Cost { answers, explanations }, samples, &metrics, &Plan::default())
        };
        let all = |samples| Budget { samples, left_out: vec![], share: 1.0 };
        assert_eq!(budget(0.001, 0.001, 32), all(32));
        assert_eq!(budget(0.0, 1.0, 32), all(4));
        assert_eq!(budget(0.0, 0.0, 2), all(2));
        // 15 explanations budget a sample take 90 seconds, one explanation takes 6.
        let slow = budget(0.0, 6.0, 32);
        assert_eq!((slow.samples, slow.left_out.len(), slow.share), (10, 2, 1.0));
        assert_eq!(budget(0.0, 6.0, 1).left_out.len(), 2);
        let slowest = budget(100.0, 20.0, 32);
        assert_eq!((slowest.samples, slowest.share), (1, 0.5));
    }
}
