//! Answers of a model to the texts of a batch: the explained unit, its value and the sum of the relevance.

use dlbc_ops::program::Info;
use dlbc_runtime::{Explanation, Target};
use serde::Serialize;

use super::unit::TokenRelevance;
use crate::answer::{is_probability, probability};
use crate::explained::Explained;
use crate::input::Texts;
use crate::wording::number;

/// Largest number of units that are taken for classes without names; more of them may be an embedding.
const FEW: usize = 32;

/// Answer of the model to a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Text of the row.
    pub text: String,
    /// Explained unit; `None` for a difference and for several units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<usize>,
    /// Class name of the explained unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// Value of the explained unit; for a difference, the value of the first unit minus that of the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Probability of the explained unit: its value if the units of the row are probabilities, else the softmax over units
    /// that are classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Sum of the text's relevance.
    pub relevance: f64,
    /// True if the value is a probability.
    #[serde(skip)]
    is_probability: bool,
    /// Target of the row, in words.
    #[serde(skip)]
    title: String,
    /// True if the relevance of every token is 0.
    #[serde(skip)]
    is_zero: bool,
}

impl Verdict {
    /// Formats the verdict as one line: target, value, probability, sum.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("target {}", self.title)];
        match (self.value, self.probability) {
            (Some(_), Some(p)) if self.is_probability => {
                parts.push(format!("probability {}", probability(p)))
            }
            (Some(value), Some(p)) => {
                parts.push(format!("value {} (softmax {})", number(value, 4), probability(p)));
            }
            (Some(value), None) => parts.push(format!("value {}", number(value, 4))),
            _ => {}
        }
        parts.push(match self.is_zero {
            true => "every relevance is 0".into(),
            false => format!("sum {}", number(self.relevance, 4)),
        });
        parts.join(", ")
    }
}

/// Returns the answer to each text.
pub fn verdicts(
    texts: &Texts,
    explained: &Explained,
    info: &Info,
    tokens: &[Vec<TokenRelevance>],
) -> Vec<Verdict> {
    let rows = Rows::of(&explained.explanation, info, texts.texts.len());
    let units = rows.as_ref().map_or(0, |rows| rows.units);
    let are_classes =
        units <= FEW || !explained.classes.is_empty() || info.explained.to_lowercase().contains("logit");
    let of_row = |(i, (text, tokens)): (usize, (&String, &Vec<TokenRelevance>))| {
        let answer = rows.as_ref().map(|rows| rows.answer(i, explained.target.target)).unwrap_or_default();
        let unit = answer.unit.map(|unit| unit as i64);
        let title = match (explained.target.target, unit) {
            (Target::Argmax | Target::Index(_), Some(unit)) if explained.explanation.opposing.is_none() => {
                explained.classes.title(unit)
            }
            _ => explained.title(i),
        };
        let is_probability = rows.as_ref().is_some_and(|rows| rows.are_probabilities);
        let value = answer.value;
        Verdict {
            text: text.clone(),
            target: answer.unit,
            target_name: unit.and_then(|unit| explained.classes.name(unit)).map(str::to_string),
            value,
            probability: match is_probability {
                true => value.filter(|_| unit.is_some()),
                false => answer.softmax.filter(|_| are_classes),
            },
            relevance: tokens.iter().map(|t| t.relevance).sum(),
            is_probability,
            title,
            is_zero: tokens.iter().all(|t| t.relevance == 0.0),
        }
    };
    texts.texts.iter().zip(tokens).enumerate().map(of_row).collect()
}

/// Explained output and seed by row: the seed determines the explained unit and position.
struct Rows {
    values: Vec<f64>,
    seed: Vec<f64>,
    /// Number of elements in a row.
    size: usize,
    /// Length of the last axis.
    units: usize,
    are_probabilities: bool,
}

impl Rows {
    /// Splits the explained output into rows; `None` if its first axis is not that of the texts.
    fn of(explanation: &Explanation, info: &Info, rows: usize) -> Option<Rows> {
        let output = explanation.outputs.get(&info.explained)?;
        if output.dims().first() != Some(&rows) || rows == 0 || output.elems() == 0 {
            return None;
        }
        Some(Rows {
            values: output.to_f64(),
            seed: explanation.seed.to_f64(),
            size: output.elems() / rows,
            units: output.dims().last().copied().unwrap_or(1),
            are_probabilities: is_probability(info, &info.explained, output),
        })
    }

    fn answer(&self, row: usize, target: Target) -> Answer {
        let range = row * self.size..(row + 1) * self.size;
        match (self.values.get(range.clone()), self.seed.get(range)) {
            (Some(values), Some(seed)) => answer(values, seed, self.units, target),
            _ => Answer::default(),
        }
    }
}

/// Explained unit of a row with its value, and the softmax over several units.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    unit: Option<usize>,
    value: Option<f64>,
    softmax: Option<f64>,
}

fn answer(values: &[f64], seed: &[f64], units: usize, target: Target) -> Answer {
    let seed_elements: Vec<usize> = (0..seed.len()).filter(|i| seed[*i] != 0.0).collect();
    let Some(first) = seed_elements.first() else { return Answer::default() };
    let start = first / units * units;
    let row = values.get(start..start + units).unwrap_or_default();
    match (target, seed_elements.as_slice()) {
        (Target::Difference(a, b), _) if seed_elements.iter().all(|i| i / units * units == start) => {
            let at =
                |i: i64| row.get(usize::try_from(if i < 0 { i + units as i64 } else { i }).ok()?).copied();
            Answer { value: at(a).zip(at(b)).map(|(a, b)| a - b), ..Answer::default() }
        }
        (_, [element]) => {
            let unit = element - start;
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let softmax =
                || (row[unit] - largest).exp() / row.iter().map(|v| (v - largest).exp()).sum::<f64>();
            Answer { unit: Some(unit), value: Some(row[unit]), softmax: (units > 1).then(softmax) }
        }
        _ => Answer::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_says_what_is_explained() {
        let verdict = answer(&[2.0, 0.0, 1.0, 1.0], &[0.0, 0.0, 0.0, 100.0], 2, Target::Argmax);
        assert_eq!((verdict.unit, verdict.value, verdict.softmax), (Some(1), Some(1.0), Some(0.5)));
        let verdict = answer(&[2.0, -1.0], &[66.0, 33.0], 2, Target::Difference(0, -1));
        assert_eq!((verdict.unit, verdict.value, verdict.softmax), (None, Some(3.0), None));
        let verdict = answer(&[-3.0], &[-100.0], 1, Target::Argmax);
        assert_eq!((verdict.value, verdict.softmax), (Some(-3.0), None));
        assert_eq!(answer(&[1.0, 2.0], &[0.0, 0.0], 2, Target::Argmax), Answer::default());
        assert_eq!(answer(&[1.0, 2.0], &[1.0, 2.0], 2, Target::All), Answer::default());
    }
}
