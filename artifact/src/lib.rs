//! Programs as ONNX: the artifact of `dlbc compile`, which reads back, and the plain model of `dlbc export`.
//!
//! Every primitive has an ONNX spelling in standard operators (opset 17). The artifact writes a primitive of one node as
//! that node and the others as model-local functions of domain `dlbc`; the export inlines them. The program itself stands
//! in the artifact's metadata, so that reading it back is exact.

mod dims;
mod export;
mod read;
mod spelling;
mod write;

pub use export::export;
pub use read::{is_artifact, read};
pub use write::write;

use dlbc_proto::{Name, ProtoError};
use thiserror::Error;

/// Why a program cannot be written or an artifact cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The file or one of its tensors.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// A primitive without a spelling for its types.
    #[error("node `{node}` has no ONNX spelling: {reason}")]
    Spelling {
        /// The node.
        node: Name,
        /// Why.
        reason: String,
    },
    /// An explained output whose seed cannot be written.
    #[error("output `{output}` of type {ty} cannot be explained in an exported model: rank 1, 2 or 3 is supported")]
    Seed {
        /// The output.
        output: Name,
        /// Its type.
        ty: String,
    },
    /// Metadata that do not describe a program.
    #[error("the artifact is damaged: {0}")]
    Damaged(String),
    /// Metadata of another version of dlbc.
    #[error("the artifact was written by format {found}, this is format {expected}: compile the model again")]
    Format {
        /// This format.
        expected: u32,
        /// The artifact's.
        found: String,
    },
}

impl ArtifactError {
    /// Whether something valid is not supported (else the file is invalid).
    pub fn is_unsupported(&self) -> bool {
        matches!(self, ArtifactError::Spelling { .. } | ArtifactError::Seed { .. })
    }
}

/// The version of the metadata.
pub(crate) const FORMAT: u32 = 1;
