//! Values and sequence positions of the units that a target selects.

use dlbc_runtime::Explanation;

use super::model::{LISTED, TargetSummary};
use super::track::TrackSummary;
use crate::cli::args::RunArgs;
use dlbc::wording::number;

/// Absorbed share of the start above which absorption explains that little reaches the inputs.
const MOSTLY_ABSORBED: f64 = 0.5;

/// Units with starting relevance, one for each of an explanation's targets.
#[derive(Default)]
pub struct Units {
    /// Values of the units in the explained output, in the order of the targets.
    pub values: Vec<f64>,
    /// Positions of the units, for an output with three axes of which the position axis is longer than 1.
    pub positions: Vec<usize>,
    /// Number of positions.
    pub length: usize,
}

impl Units {
    /// Finds the units by their starting relevance. Returns no units if a target is not a single unit, such as a difference,
    /// or starts with 0.
    pub fn new(explanation: &Explanation, explained: &str, positions_first: bool) -> Units {
        let Some(output) = explanation.outputs.get(explained) else { return Units::default() };
        let (values, dims) = (output.to_f64(), output.dims());
        let starts: Vec<usize> = explanation
            .seed
            .to_f64()
            .iter()
            .enumerate()
            .filter(|(_, v)| **v != 0.0)
            .map(|(i, _)| i)
            .collect();
        let single = explanation.boxes.is_empty() && matches!(dims.len(), 1..=3);
        if !single || starts.len() != explanation.targets.len() || explanation.seed.dims() != dims {
            return Units::default();
        }
        let unit_values = starts.iter().filter_map(|at| values.get(*at).copied()).collect();
        if let Some(at) = &explanation.at_positions {
            return Units { values: unit_values, positions: at.positions.clone(), length: at.dims[1] };
        }
        let [rows, length, units] = *dims else {
            return Units { values: unit_values, ..Units::default() };
        };
        let (length, positions): (usize, Vec<usize>) = match positions_first {
            true => (rows, starts.iter().map(|at| at / units / length).collect()),
            false => (length, starts.iter().map(|at| at / units % length).collect()),
        };
        let positions = if length > 1 { positions } else { vec![] };
        Units { values: unit_values, positions, length }
    }
}

/// Returns the value of the largest unit of each row at the explained positions; `None` unless there is one position a row.
pub fn largest(
    explanation: &Explanation,
    explained: &str,
    positions: &[usize],
    args: &RunArgs,
) -> Option<Vec<f64>> {
    let output = explanation.outputs.get(explained)?;
    let [first, second, units] = *output.dims() else { return None };
    let values = output.to_f64();
    if positions.is_empty() || positions.len() != explanation.argmax.len() {
        return None;
    }
    let rows = positions.iter().zip(&explanation.argmax).enumerate();
    let value = |(row, (position, unit)): (usize, (&usize, &i64))| {
        let at = match &explanation.at_positions {
            Some(_) => row,
            None if args.target.positions_first => position * second + row,
            None => row * second + position,
        };
        let at = Some(at).filter(|at| *at < first * second)?;
        values.get(at * units + usize::try_from(*unit).ok()?).copied()
    };
    rows.map(value).collect()
}

impl TargetSummary {
    /// Returns the note on a run whose relevance hardly reaches the inputs, and its line of help.
    pub(super) fn little_arrives(&self) -> (String, &'static str) {
        let share = number(100.0 * self.reached, 2);
        let TrackSummary { start, absorbed, .. } = &self.supporting;
        let absorbs_most = *start != 0.0 && absorbed.abs() > MOSTLY_ABSORBED * start.abs();
        let (why, help) = if absorbs_most {
            (
                ": biases and constants keep what they contribute; the values still compare within this input",
                "`--ledger` shows what keeps the rest; `bias = \"redistribute\"` in the rules of `dlbc rules dlb` passes it on",
            )
        } else {
            ("", "`--ledger` shows where the rest stays")
        };
        (format!("only {share} % of the starting relevance reaches the inputs{why}"), help)
    }

    /// Returns the positions of the units in a sequence, in words: ", position 21 of 22 (the last), value 0.9".
    pub(super) fn position(&self) -> String {
        let [first, rest @ ..] = self.positions.as_slice() else { return String::new() };
        let places = match rest.iter().all(|p| p == first) {
            true if first + 1 == self.length => format!("position {first} of {} (the last)", self.length),
            true => format!("position {first} of {}", self.length),
            false if self.positions.len() <= LISTED => {
                let all: Vec<String> = self.positions.iter().map(ToString::to_string).collect();
                format!("positions {} of {}", all.join(", "), self.length)
            }
            false => format!("{} positions", self.positions.len()),
        };
        let value = if self.values.len() == 1 { format!(", value {}", self.score()) } else { String::new() };
        format!(", {places}{value}")
    }

    /// Returns the values of the explained units, joined by commas; empty for boxes.
    pub(super) fn score(&self) -> String {
        let shown: Vec<String> = match self.boxes.is_empty() {
            true => self.values.iter().take(LISTED).map(|v| number(*v, 4)).collect(),
            false => return String::new(),
        };
        shown.join(", ")
    }
}
