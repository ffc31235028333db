//! Relevance of a table's features: a line for each row and target.

use std::collections::BTreeMap;

use dlbc_runtime::Target;

use crate::explained::Explained;
use crate::features::{self, FeatureRelevance};
use crate::input::{Columns, Inputs};

/// Features of a table, with their relevance.
pub struct FeatureTable {
    /// Names of each input's features, in order.
    pub names: BTreeMap<String, Vec<String>>,
    /// Indices of the rows in the table, from 0 below the header.
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
    /// Collects the features of a run.
    pub fn new(table: &Columns, inputs: &Inputs, explained: &[Explained]) -> FeatureTable {
        let rows_of_target = |e: &Explained| features::rows(table, &inputs.tensors, &e.explanation);
        let by_target: Vec<Vec<Vec<FeatureRelevance>>> = explained.iter().map(rows_of_target).collect();
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

/// Returns the target of a row: its class name if known, else its unit; a difference as the user wrote it.
fn target(explained: &Explained, row: usize) -> String {
    let unit = || match explained.target.target {
        Target::Difference(..) => None,
        _ => explained.explanation.targets.get(row).map(ToString::to_string),
    };
    let name = explained.target_names().get(row).cloned().flatten();
    name.or_else(|| explained.target_name()).or_else(unit).unwrap_or_else(|| explained.target.name.clone())
}
