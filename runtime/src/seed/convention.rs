//! Signs of the starting relevance.

use dlbc_backend::Outputs;
use dlbc_ops::program::{Info, Mode, Output, SeedSign};

use crate::request::Target;

/// Convention for the sign of a unit's starting relevance and for the shares of a difference, with the values that decide both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Convention {
    sign: SeedSign,
    /// Values that decide the shares of a difference, as many as the output has; `None` for the output's values.
    values: Option<Vec<f64>>,
    /// Values whose signs the starting relevance takes; `None` for `values`.
    signs: Option<Vec<f64>>,
}

impl Convention {
    /// Returns the convention of a program, and removes the values that the forward computes for it from `results`.
    pub fn take(info: &Info, results: &mut Outputs) -> Convention {
        let mut values = |output: Output| results.remove(&output).map(|t| t.to_f64());
        let (values, signs) = (values(Output::SeedValue), values(Output::SeedSign));
        // The two tracks separate support from opposition; signs would mix them.
        if info.mode == Mode::Contrastive {
            return Convention::default();
        }
        Convention { sign: info.seed.sign, values, signs }
    }

    /// Returns the starting relevance of the units of a row for a multiplier of 1. `units` are elements of the output with
    /// their weights; those of a difference come in pairs. `outputs` are the values of the output.
    pub fn weights(&self, units: &[(usize, f64)], outputs: &[f64], target: &Target) -> Vec<f64> {
        let values = self.values.as_deref().filter(|v| v.len() == outputs.len()).unwrap_or(outputs);
        let signs = self.signs.as_deref().filter(|v| v.len() == outputs.len()).unwrap_or(values);
        if matches!(target, Target::Difference(..)) && self.sign != SeedSign::Unit {
            return units.chunks(2).flat_map(|pair| shares(pair, values)).collect();
        }
        let weight = |(at, weight): &(usize, f64)| match self.sign {
            SeedSign::Unit | SeedSign::Positive => *weight,
            SeedSign::Value => weight * sign(signs[*at]),
        };
        units.iter().map(weight).collect()
    }
}

/// Returns the starting relevance of the two units of a difference, in proportion to their values.
fn shares(pair: &[(usize, f64)], values: &[f64]) -> Vec<f64> {
    // The logit of a masked unit may be infinite.
    let value = |at: usize| values[at].clamp(-1e300, 1e300);
    let size: f64 = pair.iter().map(|(at, _)| value(*at).abs()).sum();
    let share = |(at, weight): &(usize, f64)| if size == 0.0 { 0.0 } else { weight * value(*at) / size };
    pair.iter().map(share).collect()
}

/// Returns -1, 0 or 1, and NaN for NaN.
fn sign(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.signum() }
}
