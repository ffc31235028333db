//! Relevance of the features of a table: by row, and as a mean over rows.

use dlbc_ops::program::{Info, Mode};
use dlbc_runtime::{Explanation, Tensors};
use serde::Serialize;

use crate::input::{Columns, Feature};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::visible;

/// Largest number of columns that a note lists.
const LISTED: usize = 10;

/// Prefixes of the names of rules that distribute relevance in proportion to magnitudes, so that it keeps the sign of the seed.
const UNSIGNED: [&str; 14] = [
    "proportional",
    "uniform",
    "saturated",
    "z-plus",
    "flat",
    "w-square",
    "bilinear-half",
    "attention",
    "sum-proportional",
    "sum-equal",
    "product",
    "pass",
    "route",
    "winner",
];

/// The relevance of a feature in one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureRelevance {
    /// Name of the column.
    pub name: String,
    /// Value of the feature in the row.
    pub value: f64,
    /// Relevance of the feature; in contrastive mode supporting minus opposing relevance.
    pub relevance: f64,
    /// Magnitude of the relevance as a fraction of the sum over the row, 0 to 1.
    pub share: f64,
}

/// The relevance of a feature over several rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeanRelevance {
    /// Name of the column.
    pub name: String,
    /// Mean magnitude of the relevance.
    pub magnitude: f64,
    /// Mean relevance.
    pub relevance: f64,
    /// Mean magnitude as a fraction of the sum over all features, 0 to 1.
    pub share: f64,
}

/// The relevance of features for one target.
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// Features in the table's order. In JSON a list for a single row, else a list of lists.
    pub features: PerRow,
    /// Means over all rows, in the table's order; empty for a single row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mean_features: Vec<MeanRelevance>,
    /// Numbers of the rows in the table, from 0 below the header.
    pub rows: Vec<usize>,
}

/// Features of one or several rows.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum PerRow {
    /// Features of the only row.
    One(Vec<FeatureRelevance>),
    /// Features of each row.
    Several(Vec<Vec<FeatureRelevance>>),
}

/// A feature that carries relevance, with the values and the relevance of its whole input, `[row, feature]`.
struct RelevantFeature<'a> {
    feature: &'a Feature,
    values: std::rc::Rc<Vec<f64>>,
    relevance: std::rc::Rc<Vec<f64>>,
}

/// Returns the features whose inputs carry relevance, in the table's order.
fn relevant_features<'a>(
    table: &'a Columns,
    inputs: &Tensors,
    explanation: &Explanation,
) -> Vec<RelevantFeature<'a>> {
    let mut relevant: Vec<RelevantFeature> = vec![];
    for feature in &table.features {
        let same_input = relevant.last().filter(|c| c.feature.input == feature.input);
        if let Some((values, relevance)) = same_input.map(|c| (c.values.clone(), c.relevance.clone())) {
            relevant.push(RelevantFeature { feature, values, relevance });
        } else if let (Some(value), Some(net)) = (inputs.get(&feature.input), explanation.net(&feature.input))
        {
            let (values, relevance) = (value.to_f64().into(), net.to_f64().into());
            relevant.push(RelevantFeature { feature, values, relevance });
        }
    }
    relevant
}

/// Notes which columns carry no relevance because their inputs are integers.
pub fn note(table: &Columns, explanation: &Explanation, notes: &dyn Notes) {
    let missing = table.features.iter().filter(|f| !explanation.supporting.relevance.contains_key(&f.input));
    let inputs: Vec<String> = missing.map(|f| f.input.clone()).collect();
    if !inputs.is_empty() {
        let mut listed: Vec<String> =
            inputs.iter().take(LISTED).map(|name| format!("`{}`", visible(name))).collect();
        if inputs.len() > LISTED {
            listed.push(format!("{} more", inputs.len() - LISTED));
        }
        let columns = if inputs.len() == 1 { "column" } else { "columns" };
        let text = format!("no relevance for {columns} of whole numbers: {}", listed.join(", "));
        notes.note_with(text, Remedy::LiveInputs(inputs));
    }
}

/// Returns the features of each row that carry relevance, in the table's order.
pub fn rows(table: &Columns, inputs: &Tensors, explanation: &Explanation) -> Vec<Vec<FeatureRelevance>> {
    let relevant = relevant_features(table, inputs, explanation);
    let row = |row: usize| {
        let feature = |c: &RelevantFeature| FeatureRelevance {
            name: c.feature.name.clone(),
            value: shortest(table.value(&c.values, c.feature, row).unwrap_or(f64::NAN)),
            relevance: table.value(&c.relevance, c.feature, row).unwrap_or(f64::NAN),
            share: 0.0,
        };
        let mut features: Vec<FeatureRelevance> = relevant.iter().map(feature).collect();
        let total: f64 = features.iter().map(|f| f.relevance.abs()).sum();
        features.iter_mut().for_each(|f| f.share = share(f.relevance, total));
        features
    };
    (0..table.rows.len()).map(row).collect()
}

/// Rounds a float32 value to the shortest decimal that is equal in float32: 13.32 instead of 13.319999694824219.
fn shortest(value: f64) -> f64 {
    let single = value as f32;
    if f64::from(single) == value { single.to_string().parse().unwrap_or(value) } else { value }
}

/// Returns the means over rows, in the table's order.
pub fn means(rows: &[Vec<FeatureRelevance>]) -> Vec<MeanRelevance> {
    let Some(first) = rows.first() else { return vec![] };
    let mean = |i: usize, map: &dyn Fn(f64) -> f64| {
        rows.iter().filter_map(|r| r.get(i)).map(|f| map(f.relevance)).sum::<f64>() / rows.len() as f64
    };
    let mut means: Vec<MeanRelevance> = (first.iter().enumerate())
        .map(|(i, f)| MeanRelevance {
            name: f.name.clone(),
            magnitude: mean(i, &f64::abs),
            relevance: mean(i, &|r| r),
            share: 0.0,
        })
        .collect();
    let total: f64 = means.iter().map(|f| f.magnitude).sum();
    means.iter_mut().for_each(|f| f.share = share(f.magnitude, total));
    means
}

/// Returns the magnitude of a relevance as a fraction of a total; 0 for a total of 0.
fn share(relevance: f64, total: f64) -> f64 {
    if total > 0.0 { relevance.abs() / total } else { 0.0 }
}

/// Returns whether all relevance has the sign of the seed under the composite, so that it tells how much a feature counts but
/// not which class it supports.
pub fn is_unsigned(info: &Info) -> bool {
    let unsigned = |rule: &str| UNSIGNED.iter().any(|name| rule.starts_with(name));
    info.mode == Mode::Default && info.repeat.is_none() && info.ledger.iter().all(|row| unsigned(&row.rule))
}

impl Features {
    /// Returns the features of an explanation.
    pub fn new(table: &Columns, inputs: &Tensors, explanation: &Explanation) -> Features {
        let mut rows = rows(table, inputs, explanation);
        let mean_features = if rows.len() > 1 { means(&rows) } else { vec![] };
        let features = match (rows.len(), rows.pop()) {
            (1, Some(row)) => PerRow::One(row),
            (_, last) => {
                rows.extend(last);
                PerRow::Several(rows)
            }
        };
        Features { features, mean_features, rows: table.rows.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str, relevance: f64) -> FeatureRelevance {
        FeatureRelevance { name: name.into(), value: 1.5, relevance, share: 0.0 }
    }

    #[test]
    fn means_are_over_rows() {
        let rows =
            [vec![feature("a", 1.0), feature("b", -3.0)], vec![feature("a", -1.0), feature("b", -1.0)]];
        let means = means(&rows);
        assert_eq!((means[0].magnitude, means[0].relevance), (1.0, 0.0));
        assert_eq!((means[1].magnitude, means[1].relevance), (2.0, -2.0));
        assert!((means[1].share - 2.0 / 3.0).abs() < 1e-12);
    }
}
