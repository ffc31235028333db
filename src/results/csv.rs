//! Comma-separated values: a line a row of the table and target, with the relevance of each feature.

use std::collections::BTreeMap;

use dlbc_runtime::Target;

use super::{Contents, Out};
use crate::error::Result;
use crate::explained::Explained;
use crate::features::{self, FeatureRelevance};
use crate::input::{Columns, Inputs};

/// The features of a table, and their relevance.
pub struct FeatureTable {
    /// The names of each input's features, in order.
    pub names: BTreeMap<String, Vec<String>>,
    /// The numbers of the rows in the table.
    pub rows: Vec<usize>,
    lines: Vec<Line>,
}

struct Line {
    row: usize,
    target: String,
    features: Vec<FeatureRelevance>,
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

/// Writes a header and the lines.
pub fn write(out: Out, contents: &Contents) -> Result<()> {
    let Some(table) = &contents.table else { return Ok(()) };
    let mut writer = csv::Writer::from_writer(out);
    let names = table.lines.first().map(|l| l.features.iter().map(|f| f.name.as_str())).into_iter().flatten();
    writer.write_record(["row", "target"].into_iter().chain(names))?;
    for line in &table.lines {
        // The shortest text that reads back as the same float32.
        let relevance = line.features.iter().map(|f| (f.relevance as f32).to_string());
        writer.write_record([line.row.to_string(), line.target.clone()].into_iter().chain(relevance))?;
    }
    Ok(writer.flush()?)
}
