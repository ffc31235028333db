//! Programs as ONNX models: the artifact of `dlbc compile`, which reads back, and the export of `dlbc export`.
//!
//! Every primitive lowers to standard operators of opset 17 (`lowering`, one file per primitive), so that any ONNX runtime
//! runs both. An artifact has a node for each primitive: an ONNX operator, or a call of a local function of domain `dlbc`. The
//! node's metadata hold the primitive, and [`read()`] goes by the metadata alone. An export has no local functions, and computes
//! the seed in the graph.

mod compact;
mod export;
mod export_target;
mod integrated_gradients;
mod json;
mod limits;
mod lowering;
mod names;
mod node_order;
mod onnx_builder;
mod plain_model;
mod prim_builder;
mod read;
mod seed_sign;
mod trees;
mod write;

#[cfg(test)]
mod error_tests;

pub use export::{export, export_metadata};
pub use export_target::{ExportOptions, ExportSeedValue, ExportTarget, remove_target_input};
pub use names::TARGET_INPUT;
pub use plain_model::write_plain_model;
pub use read::{is_artifact, read};
pub use write::write;

use dlbc_proto::{Name, ProtoError};
use thiserror::Error;

/// Version of the artifact format, which its metadata state.
pub(crate) const FORMAT: &str = "1";

/// Failure to write a program or to read an artifact.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// An invalid file, or an invalid tensor in it.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// A primitive that no ONNX operators express for its types.
    #[error("node {node} ({op}) cannot be lowered to ONNX: {reason}")]
    Lowering {
        /// Name of the node.
        node: Name,
        /// Name of the primitive.
        op: String,
        /// Reason, as a clause for the message.
        reason: String,
    },
    /// An output that would have the name of another value in the file.
    #[error("invalid output {name}: expected another name than that of an input")]
    Taken {
        /// The name.
        name: Name,
    },
    /// An explained output whose seed an exported model cannot compute.
    #[error(
        "output {output} of type {ty} has no unit that an exported model can explain: expected numbers, and at most 3 axes unless the \
         target is all units"
    )]
    Seed {
        /// Name of the explained output.
        output: Name,
        /// Type of the output.
        ty: String,
    },
    /// A target that the explained output does not have, or that an exported model cannot choose.
    #[error("output {output}: {reason}")]
    Target {
        /// Name of the explained output.
        output: Name,
        /// Reason, as a clause for the message.
        reason: String,
    },
    /// A composite of several runs that one model cannot express.
    #[error("composite {rules} averages several runs: {reason}")]
    Repeated {
        /// Name of the composite.
        rules: Name,
        /// Reason, as a clause for the message.
        reason: String,
    },
    /// A program of trees that does not compute their Shapley values itself.
    #[error(
        "composite {rules}: expected a program that computes relevance, found one whose caller computes it from the trees"
    )]
    Trees {
        /// Name of the composite.
        rules: Name,
    },
    /// A tensor of the model with a name that is reserved for exported models.
    #[error("invalid tensor {name} of the model: expected a name that is not reserved for exported models")]
    Reserved {
        /// The name.
        name: Name,
    },
    /// An artifact's node whose metadata do not describe a primitive of the program.
    #[error("invalid artifact, node {node}: {fault}")]
    Node {
        /// Name of the node's last output.
        node: Name,
        /// Description of the fault.
        fault: String,
    },
    /// An artifact whose metadata do not describe a program.
    #[error("invalid artifact: {0}")]
    Damaged(String),
    /// An artifact of another format version.
    #[error("invalid artifact format: expected {expected}, found {actual} (compile the model again)")]
    Format {
        /// Format version that this library reads.
        expected: &'static str,
        /// Format version of the artifact.
        actual: Name,
    },
}

impl ArtifactError {
    /// Returns whether a valid program or option is not supported; false for an invalid file.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            ArtifactError::Lowering { .. }
                | ArtifactError::Seed { .. }
                | ArtifactError::Taken { .. }
                | ArtifactError::Target { .. }
                | ArtifactError::Repeated { .. }
                | ArtifactError::Trees { .. }
                | ArtifactError::Reserved { .. }
        )
    }
}
