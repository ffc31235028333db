//! Scores of a composite that are no better than those of a random map.

use std::collections::BTreeMap;

use super::measure::mean;
use super::metric::{Better, Metric};

/// Scores of each sample by metric.
type Scores = BTreeMap<Metric, Vec<f64>>;

/// The metrics in which `scores` are no better than those of the random control: their mean difference over the samples is
/// not above its standard error. Only metrics of faithfulness and localisation have a level of chance: a random map is
/// not sparse, and depends on no class, for no reason that speaks for it.
pub fn no_better_than_random(scores: &Scores, random: &Scores) -> Vec<Metric> {
    let worse = |metric: &Metric| {
        let (Some(own), Some(chance)) = (scores.get(metric), random.get(metric)) else { return false };
        let sign = if metric.better() == Better::Lower { -1.0 } else { 1.0 };
        let differences: Vec<f64> =
            own.iter().zip(chance).map(|(a, b)| sign * (a - b)).filter(|d| !d.is_nan()).collect();
        metric.has_chance_level() && !differences.is_empty() && mean(&differences) <= error(&differences)
    };
    scores.keys().copied().filter(worse).collect()
}

/// Standard error of a mean; 0 of a single value.
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
    fn what_is_within_an_error_of_random_is_no_better() {
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
        let one = |gap: f64| BTreeMap::from([(Metric::Gap, vec![gap])]);
        assert!(no_better_than_random(&one(0.2), &one(0.1)).is_empty());
        assert_eq!(no_better_than_random(&one(0.1), &one(0.1)), [Metric::Gap]);
    }
}
