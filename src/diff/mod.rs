//! Comparison of two results: agreement of each tensor, and differences between the settings of their runs.

mod compare;
mod labels;

use std::collections::BTreeMap;

use dlbc_ops::tensor::Tensor;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::results::keys::{self, is_relevance, tensor_of, title};
use crate::results::read::Stored;
use crate::statistics::{argmax, unit_rows};
use crate::wording::visible;
use compare::{Extent, compare};

pub use compare::{Agreement, Compared, Move};
pub use labels::{KEY as LABELS, Labels};

/// Difference of two results.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Settings of the runs that differ.
    pub settings: Vec<Setting>,
    /// Samples whose largest unit differs.
    pub argmax: Vec<Answer>,
    /// Tensors that both results have.
    pub tensors: Vec<Compared>,
    /// Keys of the tensors that only the first result has.
    pub only_first: Vec<String>,
    /// Keys of the tensors that only the second result has.
    pub only_second: Vec<String>,
    /// Bounds that are missed, each in words.
    pub failed: Vec<String>,
}

/// Setting that differs between two runs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Name of the setting.
    pub setting: String,
    /// Value in the first result.
    pub first: String,
    /// Value in the second result.
    pub second: String,
}

/// Sample whose largest unit differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Name of the output.
    pub output: String,
    /// Index of the sample.
    pub sample: usize,
    /// Largest unit in the first result.
    pub before: usize,
    /// Largest unit in the second result.
    pub after: usize,
}

/// Numbers of elements to compare and list, and bounds.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// Number of the largest elements that are looked for among those of the other result.
    pub top: usize,
    /// Number of listed elements of each tensor, those that differ most.
    pub moves: usize,
    /// Smallest rank correlation that passes.
    pub min_rank: Option<f64>,
    /// Smallest cosine that passes.
    pub min_cosine: Option<f64>,
    /// Smallest share of common largest elements that passes.
    pub min_overlap: Option<f64>,
    /// Largest relative L1 difference that passes.
    pub max_l1: Option<f64>,
}

impl Default for DiffOptions {
    fn default() -> DiffOptions {
        DiffOptions { top: 10, moves: 5, min_rank: None, min_cosine: None, min_overlap: None, max_l1: None }
    }
}

/// Compares the relevance of two results, tensor by tensor, and the settings of their runs. Missed bounds do not return an
/// error: [`Difference::failed`] lists them.
///
/// # Errors
/// For results without a common tensor, and tensors of different shapes.
pub fn difference(options: &DiffOptions, first: &Stored, second: &Stored) -> Result<Difference> {
    let settings = settings(&first.metadata, &second.metadata);
    let mut difference = Difference {
        argmax: answers(first, second),
        settings,
        tensors: vec![],
        only_first: vec![],
        only_second: vec![],
        failed: vec![],
    };
    let samples = explained(first).and_then(|(_, t)| t.dims().first().copied()).unwrap_or(1);
    let extent = Extent { top: options.top, moves: options.moves, samples };
    let (first_labels, second_labels) = (Labels::of(&first.metadata), Labels::of(&second.metadata));
    let relevance = |stored: &Stored| -> Vec<String> {
        stored.tensors.keys().filter(|key| is_relevance(key)).cloned().collect()
    };
    for name in relevance(first) {
        let (title, a) = (title(&name), &first.tensors[&name]);
        match second.tensors.get(&name) {
            Some(b) if b.dims() == a.dims() => {
                let input = tensor_of(&name);
                let labels = (first_labels.get(input), second_labels.get(input));
                difference.tensors.push(compare(title, (a, b), labels, extent));
            }
            Some(b) => {
                let other = difference.settings.iter().any(|s| s.setting == "texts");
                let why = if other { ": they are of other texts" } else { "" };
                let shapes =
                    format!("`{}`: shapes {:?} and {:?} differ{why}", visible(&title), a.dims(), b.dims());
                return Err(Error::invalid(shapes));
            }
            None => difference.only_first.push(title),
        }
    }
    let alone = relevance(second).into_iter().filter(|name| !first.tensors.contains_key(name));
    difference.only_second.extend(alone.map(|n| title(&n)));
    if difference.tensors.is_empty() {
        return Err(Error::invalid("nothing to compare: the results have no relevance of the same tensor"));
    }
    for c in &difference.tensors {
        let agreement = c.agreement;
        for (quantity, value, bound) in [
            ("rank correlation", agreement.rank, options.min_rank),
            ("cosine", agreement.cosine, options.min_cosine),
            ("overlap", agreement.overlap, options.min_overlap),
        ] {
            if let Some(bound) = bound.filter(|bound| value.is_nan() || value < *bound) {
                let message = format!("`{}`: {quantity} {value:.4} is below {bound}", visible(&c.tensor));
                difference.failed.push(message);
            }
        }
        if let Some(bound) = options.max_l1.filter(|bound| agreement.l1.is_nan() || agreement.l1 > *bound) {
            difference.failed.push(format!(
                "`{}`: relative L1 {:.4e} is above {bound}",
                visible(&c.tensor),
                agreement.l1
            ));
        }
    }
    Ok(difference)
}

/// Returns the settings that both results have and that differ. Consequences of other differences are left out: a hash if
/// the names differ, the digest of the inputs if the texts differ.
fn settings(first: &BTreeMap<String, String>, second: &BTreeMap<String, String>) -> Vec<Setting> {
    let differs = |key: &str| first.get(key).zip(second.get(key)).filter(|(a, b)| a != b);
    let mut settings = vec![];
    let mut add = |setting: &str, (a, b): (&String, &String)| {
        settings.push(Setting { setting: setting.into(), first: a.clone(), second: b.clone() });
    };
    for key in ["model", "explained", "rules", "mode", "target", "start", "texts"] {
        if let Some(pair) = differs(key) {
            add(key, pair);
        }
    }
    if differs("rules").is_none()
        && let Some(pair) = differs("rules_hash")
    {
        add("rules_hash", pair);
    }
    if differs("texts").is_none()
        && let Some(pair) = differs("inputs_hash")
    {
        add("inputs_hash", pair);
    }
    for key in first.keys().filter(|key| key.starts_with("sha256/")) {
        if let Some(pair) = differs(key) {
            add(key, pair);
        }
    }
    if let Some(pair) = differs("version") {
        add("version", pair);
    }
    settings
}

/// Returns the explained output of a result, if it has one.
fn explained(stored: &Stored) -> Option<(&str, &Tensor)> {
    let name = stored.metadata.get("explained")?;
    Some((name, stored.tensors.get(&keys::output(name))?))
}

/// Returns the samples whose largest unit on the last axis, at the last position, differs.
fn answers(first: &Stored, second: &Stored) -> Vec<Answer> {
    let (Some((output, a)), Some((other, b))) = (explained(first), explained(second)) else { return vec![] };
    if output != other || a.dims() != b.dims() || !matches!(a.dims().len(), 1..=3) {
        return vec![];
    }
    let (before, after) = (largest(a), largest(b));
    let changed = before.iter().zip(&after).enumerate().filter(|(_, (a, b))| a != b);
    changed
        .map(|(sample, (before, after))| Answer {
            output: output.into(),
            sample,
            before: *before,
            after: *after,
        })
        .collect()
}

/// Returns the largest unit of each sample.
fn largest(output: &Tensor) -> Vec<usize> {
    unit_rows(output.dims(), &output.to_f64()).into_iter().map(argmax).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named_once() {
        let metadata = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
        };
        let a = metadata(&[("rules", "dlb"), ("rules_hash", "1"), ("target", "0"), ("mode", "default")]);
        let b = metadata(&[("rules", "attnlrp"), ("rules_hash", "2"), ("target", "0"), ("start", "value")]);
        let differences = settings(&a, &b);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert_eq!((differences[0].setting.as_str(), differences[0].second.as_str()), ("rules", "attnlrp"));
        let edited = metadata(&[("rules", "dlb"), ("rules_hash", "3")]);
        assert_eq!(settings(&a, &edited)[0].setting, "rules_hash");
    }

    #[test]
    fn another_answer_is_reported() {
        let stored = |values: &[f32]| Stored {
            tensors: BTreeMap::from([("output/y".into(), Tensor::from_f32(&[2, 2], values))]),
            metadata: BTreeMap::from([("explained".into(), "y".into())]),
        };
        let changes = answers(&stored(&[1.0, 0.0, 0.0, 1.0]), &stored(&[1.0, 0.0, 1.0, 0.0]));
        assert_eq!(changes, [Answer { output: "y".into(), sample: 1, before: 1, after: 0 }]);
    }
}
