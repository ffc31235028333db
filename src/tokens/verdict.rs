//! Answers of a model to the texts of a batch: the explained unit, its value and the sum of the relevance.

use dlbc_ops::program::Info;
use dlbc_runtime::{Explanation, Target};
use serde::Serialize;

use super::unit::TokenRelevance;
use crate::answer::{is_probability, probability};
use crate::explained::Explained;
use crate::input::Texts;
use crate::wording::number;

/// Units up to which they are taken for classes; more of them may be an embedding.
const FEW: usize = 32;

/// The answer to a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The text.
    pub text: String,
    /// The explained unit; none for a difference and for several units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<usize>,
    /// The class name of the explained unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// The value of the explained unit, of a difference that of the first minus that of the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The value as a probability: as it is, where the units of the row are probabilities, else the softmax over units that are classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The sum of the text's relevance.
    pub relevance: f64,
    /// The value is a probability.
    #[serde(skip)]
    is_probability: bool,
    /// Target of the row, in words.
    #[serde(skip)]
    title: String,
    /// Every relevance is 0.
    #[serde(skip)]
    is_zero: bool,
}

impl Verdict {
    /// One line: target, value, probability, sum.
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

/// The answer to each text.
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

/// The explained output and its starting relevance by row: the seed says which unit, and at which position, is explained.
struct Rows {
    values: Vec<f64>,
    seed: Vec<f64>,
    /// Elements of a row.
    size: usize,
    /// Elements of the last axis.
    units: usize,
    are_probabilities: bool,
}

impl Rows {
    /// The rows of the explained output; none where its first axis is not that of the texts.
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
        let own = row * self.size..(row + 1) * self.size;
        match (self.values.get(own.clone()), self.seed.get(own)) {
            (Some(values), Some(seed)) => answer(values, seed, self.units, target),
            _ => Answer::default(),
        }
    }
}

/// The explained unit of a row with its value, and with the softmax over several units.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    unit: Option<usize>,
    value: Option<f64>,
    softmax: Option<f64>,
}

fn answer(values: &[f64], seed: &[f64], units: usize, target: Target) -> Answer {
    let started: Vec<usize> = (0..seed.len()).filter(|i| seed[*i] != 0.0).collect();
    let Some(first) = started.first() else { return Answer::default() };
    let start = first / units * units;
    let row = values.get(start..start + units).unwrap_or_default();
    match (target, started.as_slice()) {
        (Target::Difference(a, b), _) if started.iter().all(|i| i / units * units == start) => {
            let at =
                |i: i64| row.get(usize::try_from(if i < 0 { i + units as i64 } else { i }).ok()?).copied();
            Answer { value: at(a).zip(at(b)).map(|(a, b)| a - b), ..Answer::default() }
        }
        (_, [one]) => {
            let unit = one - start;
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
        let found = answer(&[2.0, 0.0, 1.0, 1.0], &[0.0, 0.0, 0.0, 100.0], 2, Target::Argmax);
        assert_eq!((found.unit, found.value, found.softmax), (Some(1), Some(1.0), Some(0.5)));
        let found = answer(&[2.0, -1.0], &[66.0, 33.0], 2, Target::Difference(0, -1));
        assert_eq!((found.unit, found.value, found.softmax), (None, Some(3.0), None));
        let found = answer(&[-3.0], &[-100.0], 1, Target::Argmax);
        assert_eq!((found.value, found.softmax), (Some(-3.0), None));
        assert_eq!(answer(&[1.0, 2.0], &[0.0, 0.0], 2, Target::Argmax), Answer::default());
        assert_eq!(answer(&[1.0, 2.0], &[1.0, 2.0], 2, Target::All), Answer::default());
    }
}
