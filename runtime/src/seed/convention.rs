//! The signs of the starting relevance.

use dlbc_backend::Outputs;
use dlbc_ops::program::{Info, Mode, Output, SeedSign};

/// Convention for the sign of a unit's start and the shares of a difference, with the values that decide both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Convention {
    sign: SeedSign,
    /// The values that count, as many as the output's, where they are not the output's.
    values: Option<Vec<f64>>,
    /// The values whose signs count, where these are others.
    signs: Option<Vec<f64>>,
}

impl Convention {
    /// The convention of a program; what the forward computed for it is taken from `made`.
    pub fn take(info: &Info, made: &mut Outputs) -> Convention {
        let mut values = |output: Output| made.remove(&output).map(|t| t.to_f64());
        let (values, signs) = (values(Output::SeedValue), values(Output::SeedSign));
        // Tracks are for and against already.
        if info.mode == Mode::Contrastive {
            return Convention::default();
        }
        Convention { sign: info.seed.sign, values, signs }
    }

    /// The start of the units of a row for a multiplier of 1. `units` are elements of the output and their weights; those of
    /// a difference stand in pairs. `own` are the output's values.
    pub fn weights(&self, units: &[(usize, f64)], own: &[f64], difference: bool) -> Vec<f64> {
        let values = self.values.as_deref().filter(|v| v.len() == own.len()).unwrap_or(own);
        let signs = self.signs.as_deref().filter(|v| v.len() == own.len()).unwrap_or(values);
        if difference && self.sign != SeedSign::Unit {
            return units.chunks(2).flat_map(|pair| shares(pair, values)).collect();
        }
        let weight = |(at, weight): &(usize, f64)| match self.sign {
            SeedSign::Unit | SeedSign::Positive => *weight,
            SeedSign::Value => weight * sign(signs[*at]),
        };
        units.iter().map(weight).collect()
    }
}

/// The units of a difference, each by its value.
fn shares(pair: &[(usize, f64)], values: &[f64]) -> Vec<f64> {
    // A masked unit may be infinite.
    let value = |at: usize| values[at].clamp(-1e300, 1e300);
    let size: f64 = pair.iter().map(|(at, _)| value(*at).abs()).sum();
    let share = |(at, weight): &(usize, f64)| if size == 0.0 { 0.0 } else { weight * value(*at) / size };
    pair.iter().map(share).collect()
}

/// -1, 0 or 1; NaN of NaN.
fn sign(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v.signum() }
}
