//! Numbers of an evaluation: steps, subsets, draws, seed.

use super::subject::Case;

/// Patches that region perturbation replaces unless told otherwise.
pub const REGIONS: usize = 100;

/// Subsets of faithfulness correlation unless told otherwise.
pub const RUNS: usize = 100;

/// Steps of a curve unless told otherwise.
const STEPS: usize = 32;

/// The largest usual subset of faithfulness correlation.
const SUBSET: usize = 224;

/// Starts of the random numbers of each purpose.
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

/// The numbers that metrics are measured with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Features that a step of a curve replaces; by default so many that there are [`Plan::steps`].
    pub step: Option<usize>,
    /// Steps of a curve, where `step` says nothing.
    pub steps: usize,
    /// Side of the patches of region perturbation, in pixels.
    pub patch: Option<usize>,
    /// Patches at most that region perturbation replaces.
    pub regions: usize,
    /// Random subsets of faithfulness correlation.
    pub runs: usize,
    /// Features of a subset.
    pub subset: Option<usize>,
    /// Inputs with noise of max-sensitivity.
    pub draws: usize,
    /// Noise of max-sensitivity: uniform up to this.
    pub radius: f64,
    /// Stages in which weights are randomised from the output on.
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
    /// Leaves a share of the steps, regions and subsets, where their number is the usual one.
    pub fn thin(&mut self, share: f64) {
        let part = |number: usize, least: usize| ((number as f64 * share) as usize).max(least.min(number));
        self.steps = part(self.steps, 8);
        if self.regions == REGIONS {
            self.regions = part(self.regions, 16);
        }
        if self.runs == RUNS {
            self.runs = part(self.runs, 16);
        }
    }

    /// Features that a step of a curve of a sample replaces.
    pub fn step(&self, case: &Case) -> usize {
        self.step.unwrap_or(case.features.count().div_ceil(self.steps)).max(1)
    }

    /// Side of a patch of a picture of this height and width.
    pub fn patch(&self, (height, width): (usize, usize)) -> usize {
        self.patch.unwrap_or((height.min(width) / 28).max(2))
    }

    /// Features of a random subset of a sample.
    pub fn subset(&self, case: &Case) -> usize {
        let n = case.features.count();
        self.subset.unwrap_or((n / 4).min(SUBSET)).clamp(1, n.max(1))
    }
}
