//! Numbers of an evaluation: steps, subsets, draws, seed.

use super::subject::Case;

/// Default number of patches that region perturbation replaces.
pub const REGIONS: usize = 100;

/// Default number of subsets of faithfulness correlation.
pub const RUNS: usize = 100;

/// Default number of steps of a curve.
const STEPS: usize = 32;

/// Largest default size of a subset of faithfulness correlation, in features.
const SUBSET: usize = 224;

/// First stream of the random numbers for each purpose.
pub mod stream {
    /// Random subsets of features.
    pub const SUBSETS: u64 = 1 << 32;
    /// Noise of inputs.
    pub const NOISE: u64 = 2 << 32;
    /// Choice of another unit.
    pub const OTHER: u64 = 3 << 32;
    /// Order of randomised weights.
    pub const WEIGHTS: u64 = 4 << 32;
    /// Random maps.
    pub const CONTROL: u64 = 5 << 32;
    /// Random maps of noisy inputs.
    pub const CONTROL_NOISE: u64 = 6 << 32;
    /// Random maps of another unit.
    pub const CONTROL_OTHER: u64 = 7 << 32;
    /// Random maps of randomised weights.
    pub const CONTROL_WEIGHTS: u64 = 8 << 32;
}

/// Parameters of the metrics.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of features that a step of a curve replaces; by default as many as make [`Plan::steps`] steps.
    pub step: Option<usize>,
    /// Number of steps of a curve, unless `step` is set.
    pub steps: usize,
    /// Side of the patches of region perturbation, in pixels.
    pub patch: Option<usize>,
    /// Largest number of patches that region perturbation replaces.
    pub regions: usize,
    /// Number of random subsets of faithfulness correlation.
    pub runs: usize,
    /// Number of features in a subset; by default a quarter of them, at most 224.
    pub subset: Option<usize>,
    /// Number of noisy inputs of max-sensitivity.
    pub draws: usize,
    /// Largest magnitude of the uniform noise of max-sensitivity.
    pub radius: f64,
    /// Number of stages in which weights are randomised from the output on.
    pub stages: usize,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            step: None,
            steps: STEPS,
            patch: None,
            regions: REGIONS,
            runs: RUNS,
            subset: None,
            draws: 10,
            radius: 0.2,
            stages: 4,
            seed: 42,
        }
    }
}

impl Plan {
    /// Reduces steps, regions and subsets to a share of their number, where that is the default.
    pub fn thin(&mut self, share: f64) {
        let part = |number: usize, min: usize| ((number as f64 * share) as usize).max(min.min(number));
        self.steps = part(self.steps, 8);
        if self.regions == REGIONS {
            self.regions = part(self.regions, 16);
        }
        if self.runs == RUNS {
            self.runs = part(self.runs, 16);
        }
    }

    /// Returns the number of features that a step of a sample's curve replaces.
    pub fn step(&self, case: &Case) -> usize {
        self.step.unwrap_or(case.features.count().div_ceil(self.steps)).max(1)
    }

    /// Returns the side, in pixels, of a patch of a picture of this height and width.
    pub fn patch(&self, (height, width): (usize, usize)) -> usize {
        self.patch.unwrap_or((height.min(width) / 28).max(2))
    }

    /// Returns the number of features in a random subset of a sample.
    pub fn subset(&self, case: &Case) -> usize {
        let n = case.features.count();
        self.subset.unwrap_or((n / 4).min(SUBSET)).clamp(1, n.max(1))
    }
}
