//! Result files of runs: outputs, relevance and ledger by key.

mod contents;
#[cfg(feature = "table")]
mod csv;
#[cfg(feature = "table")]
mod feature_table;
mod file;
mod json;
pub mod keys;
#[cfg(feature = "npz")]
mod npz;
pub mod read;
mod safetensors;
mod stored;

use std::path::Path;

use crate::error::{Error, Result};

pub use contents::{Contents, Out, WriteSeek};
#[cfg(feature = "table")]
pub use feature_table::FeatureTable;
pub use file::{check, discard_pending, write};
pub use read::Stored;
pub use stored::stored;

/// File format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy arrays in a zip file.
    Npz,
    /// Safetensors.
    Safetensors,
    /// JSON.
    Json,
    /// Comma-separated values: the relevance of a table's features alone.
    Csv,
}

impl Format {
    /// Returns the format that the extension of a file name selects.
    ///
    /// # Errors
    /// For other extensions.
    pub fn of(path: &Path) -> Result<Format> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("npz") => Ok(Format::Npz),
            Some("safetensors") => Ok(Format::Safetensors),
            Some("json") => Ok(Format::Json),
            Some("csv") => Ok(Format::Csv),
            other => {
                let extension = other.map_or(String::new(), |name| format!(", found .{name}"));
                Err(Error::usage(format!(
                    "invalid result file `{}`: expected .npz, .safetensors, .json or, of a table, .csv{extension}",
                    path.display()
                )))
            }
        }
    }

    /// Writes the contents, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(self, path: &Path, contents: &Contents) -> Result<()> {
        write(path, |out| match self {
            #[cfg(feature = "npz")]
            Format::Npz => npz::write(out, contents),
            #[cfg(not(feature = "npz"))]
            Format::Npz => {
                Err(Error::unsupported(".npz files are not available: built without feature `npz`"))
            }
            Format::Safetensors => safetensors::write(out, contents),
            Format::Json => json::write(out, contents),
            #[cfg(feature = "table")]
            Format::Csv => csv::write(out, contents),
            #[cfg(not(feature = "table"))]
            Format::Csv => Err(Error::unsupported("tables are not available: built without feature `table`")),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dlbc_ops::tensor::Tensor;

    use super::*;

    pub fn contents() -> Contents {
        let tensors = BTreeMap::from([
            ("output/y".to_string(), Tensor::from_f32(&[1, 2], &[0.5, -1.0])),
            ("relevance/a/b.c:0".to_string(), Tensor::from_f32(&[3], &[1.0, f32::NAN, 2.0])),
            ("output/ids".to_string(), Tensor::from_i64(&[2], &[7, -7])),
            ("audit/start".to_string(), Tensor::scalar(100.0)),
        ]);
        let metadata = BTreeMap::from([("model".to_string(), "m.onnx".to_string())]);
        Contents {
            tensors,
            metadata,
            #[cfg(feature = "table")]
            table: None,
        }
    }

    #[test]
    fn the_extension_decides() {
        assert_eq!(Format::of("a/b.NPZ".as_ref()).unwrap(), Format::Npz);
        assert!(Format::of("a/npz".as_ref()).is_err());
    }

    #[test]
    fn the_same_contents_are_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        for format in [Format::Npz, Format::Safetensors, Format::Json] {
            let path = folder.path().join("file");
            format.save(&path, &contents()).unwrap();
            let first = std::fs::read(&path).unwrap();
            format.save(&path, &contents()).unwrap();
            assert_eq!(first, std::fs::read(&path).unwrap(), "{format:?}");
        }
    }
}
