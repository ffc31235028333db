//! A CUDA driver without a GPU, for tests: the functions of `libcuda.so.1` that dlbc calls, with kernels executed by the
//! interpreter of `dlbc-ptxsim`.
//!
//! The driver is as lazy as the API permits, so that a missing order shows:
//! - Work of a stream runs when the stream is waited for, and not before.
//! - A synchronous copy to the device stages its bytes and returns. They arrive when the legacy stream, which no other stream
//!   waits for, runs its next operation that must be complete.
//! - An asynchronous copy from pinned memory reads that memory when it runs, not when it is called.
//! - Memory that nobody wrote is not zero: a kernel that reads it faults.
//!
//! `FAKE_CUDA` injects faults and sets the properties of the device ([`faults`]).

mod api;
mod codes;
pub mod faults;
mod host;
mod kernel;
mod machine;

use std::io;
use std::path::{Path, PathBuf};

pub use api::SYMBOLS;

/// Functions among [`SYMBOLS`] that dlbc does not call. Their copies are not ordered with any stream of its own.
pub const UNUSED: &[&str] = &["cuMemcpyHtoD_v2", "cuMemcpyDtoH_v2", "cuStreamSynchronize"];

/// Returns the shared library, which cargo puts beside the programs of the tests.
///
/// # Errors
/// When it is not there.
pub fn library() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let mut candidates = vec![];
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("libdlbc_fakedriver") && name.ends_with(".so") {
            candidates.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest = candidates.into_iter().max().map(|(_, path)| path);
    newest.ok_or_else(|| io::Error::other(format!("no libdlbc_fakedriver.so in {}", folder.display())))
}

/// Puts the driver into a folder as `libcuda.so.1`, for `LD_LIBRARY_PATH`. A function that is named as `missing` is not found
/// in it.
///
/// # Errors
/// When the library is not there or cannot be copied.
pub fn install(folder: &Path, missing: Option<&str>) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut bytes = std::fs::read(library()?)?;
    if let Some(name) = missing {
        // The loader compares names: one that differs in its last letter is another function.
        let entry = [&[0], name.as_bytes(), &[0]].concat();
        let starts: Vec<usize> =
            (0..bytes.len() - entry.len()).filter(|at| bytes[*at..].starts_with(&entry)).collect();
        if starts.is_empty() {
            return Err(io::Error::other(format!("{name} is not in the driver")));
        }
        starts.iter().for_each(|at| bytes[at + name.len()] = b'~');
    }
    std::fs::write(folder.join("libcuda.so.1"), bytes)
}
