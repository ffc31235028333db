//! Names of the elements of an input: tokens or features, as the metadata of a result say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The key of the metadata with the labels of each input.
pub const KEY: &str = "labels";

/// Names of an input's elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// Names that every row of the batch shares: features.
    Columns(Vec<String>),
    /// Names row by row: tokens; `None` for padding.
    Rows(Vec<Vec<Option<String>>>),
}

impl Labels {
    /// Reads the labels of each input from the metadata of a result; empty where it has no such metadata.
    pub fn of(metadata: &BTreeMap<String, String>) -> BTreeMap<String, Labels> {
        metadata.get(KEY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The name of an element, by its place in the tensor.
    pub fn name(&self, flat: usize) -> Option<&str> {
        match self {
            Labels::Columns(names) => names.get(flat.checked_rem(names.len())?).map(String::as_str),
            Labels::Rows(_) => self.token(flat)?.as_deref(),
        }
    }

    /// Returns whether an element is padding, by its place in the tensor.
    pub fn is_padding(&self, flat: usize) -> bool {
        matches!(self, Labels::Rows(_)) && self.token(flat) == Some(&None)
    }

    /// All rows have one length, that of the tensor's.
    fn token(&self, flat: usize) -> Option<&Option<String>> {
        let Labels::Rows(rows) = self else { return None };
        let length = rows.first().map(Vec::len)?;
        rows.get(flat.checked_div(length)?)?.get(flat % length)
    }
}
