//! JSON form of primitives and metadata.

use dlbc_ops::prim::Prim;
use dlbc_proto::Name;

use crate::ArtifactError;

/// Serialises a value.
pub(crate) fn to_string(value: &impl serde::Serialize) -> Result<String, ArtifactError> {
    serde_json::to_string(value).map_err(damaged)
}

/// Converts an error of JSON, whose text may quote the file.
pub(crate) fn damaged(e: serde_json::Error) -> ArtifactError {
    ArtifactError::Damaged(Name::new(&e.to_string()).to_string())
}

/// Serialises a primitive other than a constant. The detour by a JSON value writes float32 attributes as float64 numbers.
pub(crate) fn prim_to_string(prim: &Prim) -> Result<String, ArtifactError> {
    to_string(&serde_json::to_value(prim).map_err(damaged)?)
}
