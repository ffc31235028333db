//! Features of a table and their positions in the inputs.

use std::collections::BTreeMap;

/// A feature: a column of a table, and the position of its values in the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Name of the column.
    pub name: String,
    /// Name of the input that the column fills.
    pub input: String,
    /// Index of the feature in a row of the input, from 0.
    pub index: usize,
}

/// The columns and rows of a table that fill inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// Features, in the order of the inputs that they fill.
    pub features: Vec<Feature>,
    /// Numbers of the rows in the table, from 0 below the header.
    pub rows: Vec<usize>,
}

impl Columns {
    /// Returns the names of the features of each input, in order.
    pub fn names(&self) -> BTreeMap<String, Vec<String>> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for feature in &self.features {
            names.entry(feature.input.clone()).or_default().push(feature.name.clone());
        }
        names
    }

    /// Returns the value of a feature in a row, from the values of its input or of the input's relevance, `[row, feature]`. `row` is
    /// an index into [`Columns::rows`].
    pub fn value(&self, values: &[f64], feature: &Feature, row: usize) -> Option<f64> {
        let width = values.len().checked_div(self.rows.len())?;
        values.get(row * width + feature.index).copied()
    }
}
