//! The starting relevance.

use dlbc_ops::tensor::{DType, Tensor};

use crate::error::RuntimeError;

/// Which output units get the starting relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The greatest of each row.
    #[default]
    Argmax,
    /// The unit of this index on the last axis; negative counts from the end.
    Index(i64),
    /// The first unit, minus the second.
    Difference(i64, i64),
    /// Every unit; together they start with the multiplier.
    All,
}

/// What a target unit starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// 1 × multiplier.
    #[default]
    One,
    /// Its own output value; the multiplier is ignored.
    Value,
}

/// Which position of each row the target stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The same for all rows; negative counts from the end.
    At(i64),
    /// The last that a mask of `length` positions shows of each row; of an output of another length the last.
    Shown {
        /// Positions of the mask.
        length: usize,
        /// Of each row.
        last: Vec<usize>,
    },
}

/// What to explain and what to return.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which units.
    pub target: Target,
    /// What they start with.
    pub start: Start,
    /// Starting relevance of a row.
    pub multiplier: f64,
    /// Position of the target, for an output of shape [batch, position, unit].
    pub position: Position,
    /// Tensors, beside the inputs, whose relevance is returned.
    pub keep: Vec<String>,
    /// Return the relevance of every tensor.
    pub keep_all: bool,
    /// Return the ledger.
    pub audit: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            target: Target::Argmax,
            start: Start::One,
            multiplier: 100.0,
            position: Position::At(-1),
            keep: vec![],
            keep_all: false,
            audit: false,
        }
    }
}

/// A seed and what it was made from.
pub(crate) struct Seed {
    /// The starting relevance, of the output's shape, float32.
    pub tensor: Tensor,
    /// Its sum.
    pub total: f64,
    /// The greatest unit of each row.
    pub argmax: Vec<i64>,
    /// The unit that each row explains (the first, for a difference); empty for all.
    pub targets: Vec<i64>,
}

/// Makes the seed of an output: `[batch, unit]`, `[batch, position, unit]`, `[unit]` or a single value.
pub(crate) fn seed(name: &str, output: &Tensor, request: &Request) -> Result<Seed, RuntimeError> {
    let dims = output.dims();
    let out_of_range =
        |target: i64| RuntimeError::Target { target, output: name.into(), shape: dims.to_vec() };
    let (rows, positions, units) = match dims {
        [] => (1, 1, 1),
        [u] => (1, 1, *u),
        [b, u] => (*b, 1, *u),
        [b, p, u] => (*b, *p, *u),
        _ => return Err(RuntimeError::OutputRank { output: name.into(), shape: dims.to_vec() }),
    };
    let resolve = |i: i64, n: usize| {
        let at = if i < 0 { i.saturating_add(n as i64) } else { i };
        usize::try_from(at).ok().filter(|at| *at < n)
    };
    let position = |row: usize| match &request.position {
        Position::At(i) => resolve(*i, positions).ok_or_else(|| out_of_range(*i)),
        Position::Shown { length, last } if *length == positions && last.len() == rows => Ok(last[row]),
        Position::Shown { .. } => Ok(positions.saturating_sub(1)),
    };
    if units == 0 || positions == 0 {
        return Err(out_of_range(0));
    }
    let values = output.to_f64();
    let mut seed = vec![0.0f64; values.len()];
    let mut argmax = vec![];
    let mut targets = vec![];
    for row in 0..rows {
        let from = (row * positions + position(row)?) * units;
        let own = &values[from..from + units];
        let best = (0..units).fold(0, |best, i| if own[i] > own[best] { i } else { best });
        argmax.push(best as i64);
        let start = |unit: usize, share: f64| match request.start {
            Start::One => request.multiplier * share,
            Start::Value => own[unit],
        };
        let unit = |i: i64| resolve(i, units).ok_or_else(|| out_of_range(i));
        match request.target {
            Target::Argmax => {
                seed[from + best] = start(best, 1.0);
                targets.push(best as i64);
            }
            Target::Index(i) => {
                let i = unit(i)?;
                seed[from + i] = start(i, 1.0);
                targets.push(i as i64);
            }
            Target::Difference(a, b) => {
                let (a, b) = (unit(a)?, unit(b)?);
                seed[from + a] += start(a, 1.0);
                seed[from + b] -= start(b, 1.0);
                targets.push(a as i64);
            }
            Target::All => {
                for i in 0..units {
                    seed[from + i] = start(i, 1.0 / units as f64);
                }
            }
        }
    }
    let rounded: Vec<f32> = seed.iter().map(|v| *v as f32).collect();
    let total = rounded.iter().map(|v| f64::from(*v)).sum();
    debug_assert!(output.dtype().is_float() || output.dtype() == DType::Bool || output.dtype().is_integer());
    Ok(Seed { tensor: Tensor::from_f32(dims, &rounded), total, argmax, targets })
}
