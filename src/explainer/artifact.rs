//! Artifacts: compiled programs as ONNX files.

use std::path::Path;

use dlbc_artifact::{ArtifactError, ExportOptions};
use dlbc_ops::program::Program;
use dlbc_proto::Model;

use crate::error::{Error, Result};

/// Reads the program of an artifact; `None` for a model that is not compiled.
///
/// # Errors
/// When the artifact is invalid.
pub fn read(model: &Model) -> Result<Option<Program>> {
    if !dlbc_artifact::is_artifact(&model.proto) {
        return Ok(None);
    }
    dlbc_artifact::read(model).map(Some).map_err(from_artifact_error)
}

/// Writes a program as an artifact.
///
/// # Errors
/// When the file cannot be written.
pub fn write(program: &Program, path: &Path) -> Result<()> {
    let model = dlbc_artifact::write(program).map_err(from_artifact_error)?;
    Ok(dlbc_proto::write_model(path, &model)?)
}

/// Writes a program as a plain ONNX model.
///
/// # Errors
/// When ONNX has no operator for a primitive, or the file cannot be written.
pub fn export(program: &Program, options: &ExportOptions, path: &Path) -> Result<()> {
    let model = dlbc_artifact::export(program, options).map_err(from_artifact_error)?;
    Ok(dlbc_proto::write_model(path, &model)?)
}

/// Converts an error of the artifact format, with its kind.
fn from_artifact_error(e: ArtifactError) -> Error {
    match e {
        e @ ArtifactError::Proto(_) => e.into(),
        e if e.is_unsupported() => e.into(),
        e => Error::invalid(e.to_string()),
    }
}
