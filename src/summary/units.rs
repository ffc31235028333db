//! Which units of an output a target chose: their values, and where they stand in a sequence.

use dlbc_runtime::Explanation;

/// The units that start, one for each of an explanation's targets.
#[derive(Default)]
pub struct Units {
    /// Their values.
    pub values: Vec<f64>,
    /// Their positions, of an output with three axes.
    pub positions: Vec<usize>,
    /// The number of positions.
    pub length: usize,
}

impl Units {
    /// Finds them by the starting relevance; nothing where a target is not one unit, as a difference, or starts with 0.
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
