//! Features of a table, and where their values are.

use std::collections::BTreeMap;

/// A feature: a column of the table, and where its values are.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The column's name.
    pub name: String,
    /// The input that has it.
    pub input: String,
    /// Index of the feature among the values of the input's row, from 0.
    pub index: usize,
}

/// The table that inputs came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The features, in the table's order.
    pub features: Vec<Feature>,
    /// The numbers of the rows in the table.
    pub rows: Vec<usize>,
}

impl Columns {
    /// The names of each input's features, in order.
    pub fn names(&self) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for feature in &self.features {
            names.entry(feature.input.clone()).or_default().push(feature.name.clone());
        }
        names
    }

    /// The value that a tensor has for a feature in a row: of the input, or of its relevance.
    pub fn value(&self, values: &[f64], feature: &Feature, row: usize) -> Option<f64> {
        let width = values.len().checked_div(self.rows.len())?;
        values.get(row * width + feature.index).copied()
    }
}
