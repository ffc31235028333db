//! Number of samples of an evaluation whose user names neither composites nor samples: about a minute's worth.

use std::time::Instant;

use dlbc_runtime::Tensors;

use super::metric::Metric;
use super::plan::{Plan, stream};
use super::prepare::Prepared;
use super::subject::{Case, Method};
use crate::error::Result;

/// Seconds that an evaluation of the usual composites takes, about.
const SECONDS: f64 = 60.0;

/// Samples below which metrics that explain again and again make way.
const FEW: usize = 4;

/// Answers that are measured together, as curves ask for them.
const TOGETHER: usize = 8;

/// Cost of a sample, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Curves and subsets: answers of the model alone, for each method.
    pub answers: f64,
    /// One explanation by each composite.
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

/// Part of an evaluation that fits into its time.
#[derive(Debug, PartialEq)]
pub struct Budget {
    /// Samples, at least one.
    pub samples: usize,
    /// Metrics that are left out.
    pub left_out: Vec<Metric>,
    /// The share of curves and subsets that fits where one sample alone takes longer; else 1.
    pub share: f64,
}

/// Fits the number of samples; where few would be left the metrics, and where one is too many what each of them takes.
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
    let kept: Vec<Metric> = metrics.iter().filter(|m| !again(m)).copied().collect();
    budget(fitting(&kept), left_out)
}

/// Answers of the model that the curves and subsets of a sample ask for.
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
        let of = |answers, explanations, samples| {
            fit(Cost { answers, explanations }, samples, &metrics, &Plan::default())
        };
        let all = |samples| Budget { samples, left_out: vec![], share: 1.0 };
        assert_eq!(of(0.001, 0.001, 32), all(32));
        assert_eq!(of(0.0, 1.0, 32), all(4));
        assert_eq!(of(0.0, 0.0, 2), all(2));
        // 15 explanations of a sample take 90 seconds, one takes 6.
        let slow = of(0.0, 6.0, 32);
        assert_eq!((slow.samples, slow.left_out.len(), slow.share), (10, 2, 1.0));
        assert_eq!(of(0.0, 6.0, 1).left_out.len(), 2);
        let slowest = of(100.0, 20.0, 32);
        assert_eq!((slowest.samples, slowest.share), (1, 0.5));
    }
}
