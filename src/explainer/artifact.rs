//! Artifacts: a compiled program as an ONNX file.

use std::path::Path;

use dlbc_artifact::{ArtifactError, ExportOptions};
use dlbc_ops::program::Program;
use dlbc_proto::Model;

use crate::error::{Error, Result};

/// Reads the program of an artifact; `None` for a model that is not compiled.
///
/// # Errors
/// For an artifact that is invalid.
pub fn read(model: &Model) -> Result<Option<Program>> {
    if !dlbc_artifact::is_artifact(&model.proto) {
        return Ok(None);
    }
    dlbc_artifact::read(model).map(Some).map_err(refuse)
}

/// Writes a program as an artifact.
///
/// # Errors
/// When it cannot be written.
pub fn write(program: &Program, path: &Path) -> Result<()> {
    let model = dlbc_artifact::write(program).map_err(refuse)?;
    Ok(dlbc_proto::write_model(path, &model)?)
}

/// Writes a program as a plain model.
///
/// # Errors
/// When it cannot be written.
pub fn export(program: &Program, options: &ExportOptions, path: &Path) -> Result<()> {
    let model = dlbc_artifact::export(program, options).map_err(refuse)?;
    Ok(dlbc_proto::write_model(path, &model)?)
}

fn refuse(e: ArtifactError) -> Error {
    match e {
        ArtifactError::Proto(e) => e.into(),
        e if e.is_unsupported() => Error::unsupported(e.to_string()),
        e => Error::invalid(e.to_string()),
    }
}
