//! Reader of NumPy's .npz format, a zip file of named arrays.

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
use super::npy::Elements;
#[cfg(feature = "npz")]
use crate::content::{Content, content};
#[cfg(feature = "npz")]
use crate::error::ResultExt;
use crate::error::{Error, Result};

/// The arrays of an archive.
pub struct Arrays {
    /// Selected arrays by name.
    pub selected: BTreeMap<String, Tensor>,
    /// Names of the other arrays.
    pub others: Vec<String>,
    /// Metadata that a result of `dlbc run` stores in the comment of the archive; else empty.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the arrays whose names `select` accepts, each of at most `max_bytes`. Names are never used as paths: nothing is written
/// to disk.
///
/// # Errors
/// When the file is not a zip archive, a name occurs twice, or an array cannot be read.
#[cfg(feature = "npz")]
pub fn read(path: &Path, select: impl Fn(&str) -> bool, max_bytes: u64) -> Result<Arrays> {
    read_as(path, |name| select(name).then_some(Elements::Numbers), max_bytes)
}

/// Reads the arrays for which `select` returns elements, each of these elements and of at most `max_bytes`.
///
/// # Errors
/// Those of [`read`].
#[cfg(feature = "npz")]
pub fn read_as(path: &Path, select: impl Fn(&str) -> Option<Elements>, max_bytes: u64) -> Result<Arrays> {
    let file = File::open(path).map_err(|e| Error::invalid(e.to_string()))?;
    let archive = ZipArchive::new(BufReader::new(file)).map_err(|_| match content(path) {
        Some(kind) if !matches!(kind, Content::Npz | Content::ResultNpz | Content::Zip) => {
            npy::wrong_content("an .npz archive of arrays", kind)
        }
        Some(_) => Error::invalid("the .npz archive is damaged or incomplete"),
        None => Error::invalid("expected an .npz archive of arrays, found something else"),
    });
    let mut archive = archive?;
    let metadata = serde_json::from_slice(archive.comment()).unwrap_or_default();
    let mut arrays = Arrays { selected: BTreeMap::new(), others: vec![], metadata };
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| Error::invalid(format!("entry {index}: {e}")))?;
        let Some(name) = entry.name().strip_suffix(".npy").map(ToString::to_string) else { continue };
        let Some(elements) = select(&name) else {
            arrays.others.push(name);
            continue;
        };
        let tensor = npy::read(&mut entry, elements, max_bytes).with_context(|| format!("array `{name}`"))?;
        if arrays.selected.insert(name.clone(), tensor).is_some() {
            return Err(Error::invalid(format!("array `{name}` is stored twice")));
        }
    }
    Ok(arrays)
}

/// Refuses every file, since this build cannot read archives.
///
/// # Errors
/// Always.
#[cfg(not(feature = "npz"))]
pub fn read(path: &Path, _: impl Fn(&str) -> bool, max_bytes: u64) -> Result<Arrays> {
    read_as(path, |_| None, max_bytes)
}

/// Refuses every file, since this build cannot read archives.
///
/// # Errors
/// Always.
#[cfg(not(feature = "npz"))]
pub fn read_as(_: &Path, _: impl Fn(&str) -> Option<Elements>, _: u64) -> Result<Arrays> {
    Err(Error::unsupported(".npz files are not available: built without feature `npz`"))
}
