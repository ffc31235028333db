//! Scores of a method on all samples.

use std::collections::BTreeMap;

use dlbc_ops::program::{Info, Mode};

use super::measure::mean;
use super::metric::Metric;

/// What was measured of a method.
#[derive(Default)]
pub struct Outcome {
    /// The composite or control.
    pub rules: String,
    /// SHA-256 of the composite.
    pub rules_hash: String,
    /// Number of tracks.
    pub mode: Mode,
    /// A control, such as a random map.
    pub control: bool,
    /// Of each sample.
    pub scores: BTreeMap<Metric, Vec<f64>>,
    /// Of each sample, by name.
    pub curves: BTreeMap<&'static str, Vec<Vec<f64>>>,
    /// Mean similarity after each stage of randomisation.
    pub stages: Vec<f64>,
    /// Of each sample: starting relevance, what reached the inputs, what was absorbed.
    pub books: Vec<[f64; 3]>,
    /// The maps, for the comparison with those of randomised weights.
    pub maps: Vec<Vec<f64>>,
}

impl Outcome {
    /// Names the composite.
    pub fn of(self, info: &Info) -> Outcome {
        Outcome { rules: info.rules.clone(), rules_hash: info.rules_hash.clone(), mode: info.mode, ..self }
    }

    /// Names the control.
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

    /// The mean of a metric over the samples that have one. Of conservation it is weighted by what starts: of integrated
    /// gradients that is the difference of two outputs, which may be next to nothing.
    pub fn mean(&self, metric: Metric) -> Option<f64> {
        if metric == Metric::Conservation && self.scores.contains_key(&metric) {
            let sum = |of: usize| self.books.iter().map(|b| b[of]).sum::<f64>();
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
