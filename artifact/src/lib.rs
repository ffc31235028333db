//! Programs as ONNX: the artifact of `dlbc compile`, which reads back, and the plain model of `dlbc export`.
//!
//! Every primitive lowers to standard operators of opset 17 (`lowering`, one primitive a file). The artifact writes a
//! primitive of one node as that node and the others as calls of model-local functions of domain `dlbc`, so that it runs as
//! it is; each such node carries its primitive as metadata, which is what reading goes by. The export has all of them
//! inlined.

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
mod write;

pub use export::{export, export_metadata};
pub use export_target::{ExportOptions, ExportStart, ExportTarget, remove_target_input};
pub use names::TARGET_INPUT;
pub use plain_model::write_plain_model;
pub use read::{is_artifact, read};
pub use write::write;

use dlbc_proto::{Name, ProtoError};
use thiserror::Error;

/// The version of the artifact's metadata.
pub(crate) const FORMAT: &str = "1";

/// Why a program cannot be written or an artifact cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The file or one of its tensors.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// A primitive without a spelling for its types.
    #[error("node {node} ({op}) has no ONNX spelling: {reason}")]
    Spelling {
        /// The node.
        node: Name,
        /// Its primitive.
        op: String,
        /// Why.
        reason: String,
    },
    /// Two values would have one name in the file.
    #[error("output {name} has the name of an input")]
    Taken {
        /// The name.
        name: Name,
    },
    /// An explained output whose seed cannot be written.
    #[error(
        "output {output} of type {ty} cannot be explained in an exported model: at most 3 axes are supported"
    )]
    Seed {
        /// The output.
        output: Name,
        /// Its type.
        ty: String,
    },
    /// A target that the explained output does not have, or that cannot be written.
    #[error("output {output}: {reason}")]
    Target {
        /// The output.
        output: Name,
        /// The reason, as a clause for the message.
        reason: String,
    },
    /// A mean over several runs that cannot be written.
    #[error("composite {rules} is a mean over several runs: {reason}")]
    Repeated {
        /// The composite.
        rules: Name,
        /// The reason, as a clause for the message.
        reason: String,
    },
    /// A tensor of the model has a name that an exported model needs.
    #[error("the model has a tensor {name}: is it an exported explanation already?")]
    Reserved {
        /// The name.
        name: Name,
    },
    /// A node of an artifact that does not describe a primitive of a program.
    #[error("the artifact is damaged: node {node}: {fault}")]
    Node {
        /// The node's first output.
        node: Name,
        /// What is wrong.
        fault: String,
    },
    /// Metadata that do not describe a program.
    #[error("the artifact is damaged: {0}")]
    Damaged(String),
    /// Metadata of another version of dlbc.
    #[error("the artifact has format {found}, format {expected} is expected: compile the model again")]
    Format {
        /// This format.
        expected: &'static str,
        /// The artifact's.
        found: Name,
    },
}

impl ArtifactError {
    /// Returns whether something valid is not supported; else the file is invalid.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            ArtifactError::Spelling { .. }
                | ArtifactError::Seed { .. }
                | ArtifactError::Taken { .. }
                | ArtifactError::Target { .. }
                | ArtifactError::Repeated { .. }
                | ArtifactError::Reserved { .. }
        )
    }
}
