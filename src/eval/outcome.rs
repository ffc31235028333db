//! Scores of a method on all samples.

use std::collections::BTreeMap;

use dlbc_ops::program::{Info, Mode};

use super::measure::mean;
use super::metric::Metric;

/// Measurements of a method over all samples.
#[derive(Default)]
pub struct Outcome {
    /// Name of the composite or control.
    pub rules: String,
    /// SHA-256 of the composite; empty for a control.
    pub rules_hash: String,
    /// Mode of the composite, which sets its number of tracks.
    pub mode: Mode,
    /// True for a control, such as a random map.
    pub control: bool,
    /// Score of each sample, by metric.
    pub scores: BTreeMap<Metric, Vec<f64>>,
    /// Curve of each sample, by the name of the curve.
    pub curves: BTreeMap<&'static str, Vec<Vec<f64>>>,
    /// Mean similarity after each stage of randomisation.
    pub stages: Vec<f64>,
    /// Sums of the ledger of each sample: seed, inputs, absorbed.
    pub ledger_sums: Vec<[f64; 3]>,
    /// Relevance of the features of each sample, for the comparison with maps under randomised weights.
    pub maps: Vec<Vec<f64>>,
}

impl Outcome {
    /// Sets name, hash and mode to those of a composite.
    pub fn of(self, info: &Info) -> Outcome {
        Outcome { rules: info.rules.clone(), rules_hash: info.rules_hash.clone(), mode: info.mode, ..self }
    }

    /// Marks the outcome as that of a control of this name.
    pub fn control(self, name: &str) -> Outcome {
        Outcome { rules: name.into(), control: true, ..self }
    }

    /// Adds the scores of a sample.
    pub fn add(&mut self, scores: BTreeMap<Metric, f64>) {
        for (metric, score) in scores {
            self.scores.entry(metric).or_default().push(score);
        }
    }

    /// Adds a curve of a sample.
    pub fn curve(&mut self, name: &'static str, curve: Vec<f64>) {
        self.curves.entry(name).or_default().push(curve);
    }

    /// Returns the mean of a metric over the samples that have one. The mean of conservation is weighted by the seed: the
    /// seed of integrated gradients is the difference of two outputs, which may be close to 0.
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::Conservation && self.scores.contains_key(&metric) {
            let sum = |entry: usize| self.ledger_sums.iter().map(|sums| sums[entry]).sum::<f64>();
            return Some(sum(1) / sum(0));
        }
        let defined: Vec<f64> = self.scores.get(&metric)?.iter().copied().filter(|s| !s.is_nan()).collect();
        Some(mean(&defined))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_leave_out_what_is_undefined() {
        let mut outcome = Outcome::default();
        for score in [0.5, f64::NAN, 1.0] {
            outcome.add(BTreeMap::from([(Metric::RankAccuracy, score)]));
        }
        assert_eq!(outcome.mean(Metric::RankAccuracy), Some(0.75));
        assert_eq!(outcome.mean(Metric::Gap), None);
    }
}
