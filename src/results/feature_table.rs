//! Relevance of a table's features: a line for each row and target.

use std::collections::BTreeMap;

use dlbc_runtime::Target;

use crate::explained::Explained;
use crate::features::{self, FeatureRelevance};
use crate::input::{Columns, Inputs};

/// The features of a table, and their relevance.
pub struct FeatureTable {
    /// The names of each input's features, in order.
    pub names: BTreeMap<String, Vec<String>>,
    /// The numbers of the rows in the table.
    pub rows: Vec<usize>,
    pub(super) lines: Vec<Line>,
}

/// Relevance of the features of one row for one target.
pub(super) struct Line {
    pub(super) row: usize,
    pub(super) target: String,
    pub(super) features: Vec<FeatureRelevance>,
}

impl FeatureTable {
    /// The features of a run.
    pub fn new(table: &Columns, inputs: &Inputs, explained: &[Explained]) -> FeatureTable {
        let of = |e: &Explained| features::rows(table, &inputs.tensors, &e.explanation);
        let by_target: Vec<Vec<Vec<FeatureRelevance>>> = explained.iter().map(of).collect();
        let line = |i: usize, row: usize| {
            let targets = explained.iter().zip(&by_target);
            targets
                .map(move |(e, rows)| Line { row, target: target(e, i), features: rows[i].clone() })
                .collect()
        };
        let lines = table.rows.iter().enumerate().flat_map(|(i, row)| -> Vec<Line> { line(i, *row) });
        FeatureTable { names: table.names(), rows: table.rows.clone(), lines: lines.collect() }
    }
}

/// The target of a row: the class name where there is one, else the unit; a difference as it was given.
fn target(explained: &Explained, row: usize) -> String {
    let unit = || match explained.target.target {
        Target::Difference(..) => None,
        _ => explained.explanation.targets.get(row).map(ToString::to_string),
    };
    let name = explained.target_names().get(row).cloned().flatten();
    name.or_else(|| explained.target_name()).or_else(unit).unwrap_or_else(|| explained.target.name.clone())
}
