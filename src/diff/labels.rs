//! Names of the elements of an input, tokens or features, from the metadata of a result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Metadata key of the labels of each input.
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

    /// Returns the name of an element by its flat index in the tensor.
    pub fn name(&self, flat: usize) -> Option<&str> {
        match self {
            Labels::Columns(names) => names.get(flat.checked_rem(names.len())?).map(String::as_str),
            Labels::Rows(_) => self.token(flat)?.as_deref(),
        }
    }

    /// Returns whether the element at a flat index of the tensor is padding.
    pub fn is_padding(&self, flat: usize) -> bool {
        matches!(self, Labels::Rows(_)) && self.token(flat) == Some(&None)
    }

    /// Returns the token at a flat index of the tensor; all rows have the length of the tensor's rows.
    fn token(&self, flat: usize) -> Option<&Option<String>> {
        let Labels::Rows(rows) = self else { return None };
        let length = rows.first().map(Vec::len)?;
        rows.get(flat.checked_div(length)?)?.get(flat % length)
    }
}
