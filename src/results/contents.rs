//! The contents of a result file, and the file under construction.

use std::collections::BTreeMap;
use std::io::Write;

use dlbc_ops::tensor::Tensor;

#[cfg(feature = "table")]
use super::feature_table::FeatureTable;

/// Tensors by key, and their origin.
pub struct Contents {
    /// Outputs, relevance and ledger.
    pub tensors: BTreeMap<String, Tensor>,
    /// Model, its hash, rules, mode, version.
    pub metadata: BTreeMap<String, String>,
    /// The features of a run on a table.
    #[cfg(feature = "table")]
    pub table: Option<FeatureTable>,
}

/// A buffered file under construction.
pub type Out<'a> = &'a mut (dyn WriteSeek + 'a);

/// A file that a zip archive can be written to.
pub trait WriteSeek: Write + std::io::Seek {}

impl<T: Write + std::io::Seek> WriteSeek for T {}
