//! Contents of a result file, and the traits of the writer.

use std::collections::BTreeMap;
use std::io::Write;

use dlbc_ops::tensor::Tensor;

#[cfg(feature = "table")]
use super::feature_table::FeatureTable;

/// Contents of a result file: tensors by key, and metadata.
pub struct Contents {
    /// Tensors by key: outputs, relevance and ledger.
    pub tensors: BTreeMap<String, Tensor>,
    /// Metadata by key: model, hashes, rules, mode, version.
    pub metadata: BTreeMap<String, String>,
    /// Features of a run on a table.
    #[cfg(feature = "table")]
    pub table: Option<FeatureTable>,
}

/// Buffered writer of a file.
pub type Out<'a> = &'a mut (dyn WriteSeek + 'a);

/// Writer that a zip archive can be written to.
pub trait WriteSeek: Write + std::io::Seek {}

impl<T: Write + std::io::Seek> WriteSeek for T {}
