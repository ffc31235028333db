//! Programs of trees that hold the background of their Shapley values.

use std::path::Path;

use dlbc_ops::program::Program;
use dlbc_runtime::{Device, Session, SessionOptions};

use crate::error::Result;
use crate::input::{Words, background};

/// Reads a background and keeps it in the program, as the trees read it.
///
/// # Errors
/// When the file does not fit the inputs, or a tensor is above the size limit.
pub fn keep_background(program: &mut Program, file: &Path, max_tensor_bytes: u64) -> Result<()> {
    let inputs = &program.info.inputs;
    let rows = background::of_file(inputs, file, Words::of(&program.info), max_tensor_bytes)?;
    let options = SessionOptions::new().max_tensor_bytes(max_tensor_bytes);
    let session = Session::new(program.clone(), Device::Cpu.open_shared()?.backend(), options)?;
    program.set_tree_background(session.tree_rows(&rows)?);
    Ok(())
}
