//! Primitives and metadata as JSON.

use dlbc_ops::prim::Prim;
use dlbc_proto::Name;

use crate::ArtifactError;

/// Any metadata.
pub(crate) fn to_string(value: &impl serde::Serialize) -> Result<String, ArtifactError> {
    serde_json::to_string(value).map_err(damaged)
}

/// An error of JSON, which quotes the file.
pub(crate) fn damaged(e: serde_json::Error) -> ArtifactError {
    ArtifactError::Damaged(Name::new(&e.to_string()).to_string())
}

/// A primitive that is no constant, by way of a JSON value: its numbers are those of float64.
pub(crate) fn prim_to_string(prim: &Prim) -> Result<String, ArtifactError> {
    to_string(&serde_json::to_value(prim).map_err(damaged)?)
}
