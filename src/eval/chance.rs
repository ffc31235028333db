//! Comparison of the scores of a composite with those of a random map.

use std::collections::BTreeMap;

use super::measure::mean;
use super::metric::{Better, Metric};

/// Scores of each sample by metric.
type Scores = BTreeMap<Metric, Vec<f64>>;

/// Returns the metrics in which `scores` do not exceed the random control: the mean difference over the samples is not
/// above its standard error. Only metrics of faithfulness and localisation have a level of chance: that a random map is
/// not sparse and does not depend on the class says nothing about its quality.
pub fn no_better_than_random(scores: &Scores, random: &Scores) -> Vec<Metric> {
    let worse = |metric: &Metric| {
        let (Some(scores), Some(chance)) = (scores.get(metric), random.get(metric)) else { return false };
        let sign = if metric.better() == Better::Lower { -1.0 } else { 1.0 };
        let differences: Vec<f64> =
            scores.iter().zip(chance).map(|(a, b)| sign * (a - b)).filter(|d| !d.is_nan()).collect();
        metric.has_chance_level() && !differences.is_empty() && mean(&differences) <= error(&differences)
    };
    scores.keys().copied().filter(worse).collect()
}

/// Returns the standard error of the mean of values; 0 for fewer than two values.
fn error(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (variance / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_within_the_standard_error_are_chance() {
        let scores = |gap: &[f64], morf: &[f64]| {
            BTreeMap::from([
                (Metric::Gap, gap.to_vec()),
                (Metric::Morf, morf.to_vec()),
                (Metric::Sparseness, vec![0.0; gap.len()]),
            ])
        };
        let random = scores(&[0.0, 0.1, -0.1], &[0.5, 0.5, 0.5]);
        // The lower the better for MoRF; sparseness has no level of chance.
        let good = scores(&[0.5, 0.5, 0.6], &[0.1, 0.2, 0.1]);
        assert!(no_better_than_random(&good, &random).is_empty());
        let bad = scores(&[-0.3, -0.2, -0.3], &[0.6, 0.6, 0.6]);
        assert_eq!(no_better_than_random(&bad, &random), [Metric::Morf, Metric::Gap]);
        // Larger in the mean by 0.1, with a standard error of 0.17.
        let unsure = scores(&[0.4, 0.0, -0.1], &[0.1, 0.1, 0.1]);
        assert_eq!(no_better_than_random(&unsure, &random), [Metric::Gap]);
        let single = |gap: f64| BTreeMap::from([(Metric::Gap, vec![gap])]);
        assert!(no_better_than_random(&single(0.2), &single(0.1)).is_empty());
        assert_eq!(no_better_than_random(&single(0.1), &single(0.1)), [Metric::Gap]);
    }
}
