//! NumPy's .npz format: arrays by name in a zip file.

use std::collections::BTreeMap;
#[cfg(feature = "npz")]
use std::fs::File;
#[cfg(feature = "npz")]
use std::io::BufReader;
use std::path::Path;

use dlbc_ops::tensor::Tensor;
#[cfg(feature = "npz")]
use zip::ZipArchive;

#[cfg(feature = "npz")]
use super::npy;
#[cfg(feature = "npz")]
use crate::content::{Content, content};
#[cfg(feature = "npz")]
use crate::error::ResultExt;
use crate::error::{Error, Result};

/// The arrays of a file.
pub struct Arrays {
    /// Those that were wanted.
    pub found: BTreeMap<String, Tensor>,
    /// The names of the others.
    pub others: Vec<String>,
    /// Metadata that a result of `dlbc run` keeps in the comment of the archive; else empty.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the arrays that `wanted` asks for, each of at most `max_bytes`. Names are only names: nothing is unpacked.
///
/// # Errors
/// For a file that is no zip file, a name that occurs twice, and bad arrays.
#[cfg(feature = "npz")]
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool, max_bytes: u64) -> Result<Arrays> {
    let file = File::open(path).map_err(|e| Error::invalid(e.to_string()))?;
    let archive = ZipArchive::new(BufReader::new(file)).map_err(|_| match content(path) {
        Some(kind) if !matches!(kind, Content::Npz | Content::ResultNpz | Content::Zip) => {
            npy::other("an .npz archive of arrays", kind)
        }
        Some(_) => Error::invalid("the .npz archive is damaged or incomplete"),
        None => Error::invalid("expected an .npz archive of arrays, found something else"),
    });
    let mut archive = archive?;
    let metadata = serde_json::from_slice(archive.comment()).unwrap_or_default();
    let mut arrays = Arrays { found: BTreeMap::new(), others: vec![], metadata };
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| Error::invalid(format!("entry {index}: {e}")))?;
        let Some(name) = entry.name().strip_suffix(".npy").map(ToString::to_string) else { continue };
        if !wanted(&name) {
            arrays.others.push(name);
            continue;
        }
        let tensor = npy::read(&mut entry, max_bytes).with_context(|| format!("array `{name}`"))?;
        if arrays.found.insert(name.clone(), tensor).is_some() {
            return Err(Error::invalid(format!("array `{name}` is stored twice")));
        }
    }
    Ok(arrays)
}

/// Refuses every file: this build reads no archives.
///
/// # Errors
/// Always.
#[cfg(not(feature = "npz"))]
pub fn read(_: &Path, _: impl Fn(&str) -> bool, _: u64) -> Result<Arrays> {
    Err(Error::unsupported(".npz files are not available: built without feature `npz`"))
}
