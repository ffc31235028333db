//! Reader of result files: the tensors of an .npz, .safetensors or .json file by key.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use dlbc_ops::tensor::{DType, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use crate::error::{Error, Result};
use crate::input::npz;
use crate::remedy::Remedy;
use crate::results::Format;
use crate::wording::{size, visible, visible_path};

/// Content of a result file.
#[derive(Debug, Default)]
pub struct Stored {
    /// Tensors by key.
    pub tensors: BTreeMap<String, Tensor>,
    /// Metadata of the run that made the result; empty where the file has none.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the tensors whose keys `wanted` accepts, each of at most `max_bytes`.
///
/// # Errors
/// For a file other than a result, and for one above the limit; the message names the file.
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool, max_bytes: u64) -> Result<Stored> {
    let read = match Format::of(path) {
        Ok(Format::Safetensors) => safetensors(path, wanted, max_bytes),
        Ok(Format::Json) => json(path, &wanted, max_bytes),
        Ok(Format::Csv) => {
            Err(Error::invalid("expected .npz, .safetensors or .json, found .csv, which holds no outputs"))
        }
        // A file with another extension can only be an .npz file.
        Ok(Format::Npz) | Err(_) => npz::read(path, wanted, max_bytes)
            .map(|arrays| Stored { tensors: arrays.selected, metadata: arrays.metadata }),
    };
    read.map_err(|e| e.context(format!("result `{}`", visible_path(path))))
}

fn open(path: &Path, max_bytes: u64) -> Result<File> {
    let file = File::open(path).map_err(|e| Error::invalid(e.to_string()))?;
    let bytes = file.metadata().map_err(|e| Error::invalid(e.to_string()))?.len();
    if bytes > max_bytes {
        let message = format!("{} are more than the limit of {}", size(bytes), size(max_bytes));
        return Err(Error::limit(message).with_remedy(Remedy::MaxTensorBytes));
    }
    Ok(file)
}

fn safetensors(path: &Path, wanted: impl Fn(&str) -> bool, max_bytes: u64) -> Result<Stored> {
    let mut bytes = vec![];
    // The file may have grown since it was measured.
    open(path, max_bytes)?
        .take(max_bytes)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::invalid(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::invalid(format!("invalid safetensors file: {e}")))?;
    let metadata = SafeTensors::read_metadata(&bytes).ok().and_then(|(_, m)| m.metadata().clone());
    let metadata = metadata.unwrap_or_default().into_iter().collect();
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| wanted(name)) {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::Bf16,
            Dtype::I8 => DType::I8,
            Dtype::I16 => DType::I16,
            Dtype::I32 => DType::I32,
            Dtype::I64 => DType::I64,
            Dtype::U8 => DType::U8,
            Dtype::U16 => DType::U16,
            Dtype::U32 => DType::U32,
            Dtype::U64 => DType::U64,
            Dtype::BOOL => DType::Bool,
            other => {
                return Err(Error::invalid(format!(
                    "tensor `{}`: expected numbers, found {other:?}",
                    visible(&name)
                )));
            }
        };
        let tensor = Tensor::from_bytes(dtype, view.shape().to_vec(), Arc::new(view.data().to_vec()));
        let tensor = tensor.ok_or_else(|| {
            Error::invalid(format!("tensor `{}`: its shape does not fit its size", visible(&name)))
        })?;
        tensors.insert(name, tensor);
    }
    Ok(Stored { tensors, metadata })
}

fn json(path: &Path, wanted: &dyn Fn(&str) -> bool, max_bytes: u64) -> Result<Stored> {
    let mut text =
        serde_json::Deserializer::from_reader(BufReader::new(open(path, max_bytes)?.take(max_bytes)));
    let read = serde::Deserializer::deserialize_map(&mut text, Tensors(wanted))
        .and_then(|stored| text.end().map(|()| stored));
    read.map_err(|e| Error::invalid(format!("expected a result file of dlbc: {e}")))
}

/// Visitor that reads the accepted entries of an object and skips the others.
struct Tensors<'a>(&'a dyn Fn(&str) -> bool);

/// Tensor in a result file of format JSON; NaN and infinities are null.
#[derive(Deserialize)]
struct Entry {
    shape: Vec<usize>,
    data: Vec<Option<f64>>,
}

impl<'de> Visitor<'de> for Tensors<'_> {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut stored = Stored::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "metadata" {
                stored.metadata = map.next_value()?;
                continue;
            }
            if !(self.0)(&name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Entry { shape, data } = map.next_value()?;
            let elems = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            if elems != Some(data.len()) {
                let message = format!("{} values do not fill shape {shape:?}", data.len());
                return Err(A::Error::custom(message));
            }
            let values: Vec<f32> = data.iter().map(|v| v.map_or(f32::NAN, |v| v as f32)).collect();
            stored.tensors.insert(name, Tensor::from_f32(&shape, &values));
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Contents;

    #[test]
    fn every_format_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let relevance = Tensor::from_f32(&[2, 2], &[0.1, -2.0, f32::NAN, 1e-30]);
        let tensors = BTreeMap::from([
            ("relevance/x:0".to_string(), relevance.clone()),
            ("output/ids".to_string(), Tensor::from_i64(&[1], &[7])),
        ]);
        let metadata = BTreeMap::from([("model".to_string(), "relevance".to_string())]);
        let contents = Contents {
            tensors,
            metadata,
            #[cfg(feature = "table")]
            table: None,
        };
        for (name, format) in
            [("r.npz", Format::Npz), ("r.safetensors", Format::Safetensors), ("r.json", Format::Json)]
        {
            let path = folder.path().join(name);
            format.save(&path, &contents).unwrap();
            let Stored { tensors, metadata } =
                read(&path, |key| key.starts_with("relevance/"), 1 << 20).unwrap();
            assert_eq!(metadata, contents.metadata, "{name}");
            assert_eq!(tensors.keys().collect::<Vec<_>>(), ["relevance/x:0"], "{name}");
            let (a, b) = (tensors["relevance/x:0"].to_f32(), relevance.to_f32());
            assert!(a.iter().zip(b.iter()).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())), "{name}");
            assert!(read(&path, |_| true, 10).is_err(), "{name}");
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.json", "[1, 2]"),
            ("b.json", "{\"relevance/x\": {\"shape\": [2], \"data\": [1]}}"),
            ("c.json", "{\"relevance/x\": {\"shape\": [99999999999, 99999999999], \"data\": []}}"),
            ("d.json", "{\"relevance/x\": 3}"),
            ("e.json", "{} {}"),
            ("f.safetensors", "no tensors at all"),
            ("g.npz", "no zip"),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = read(&path, |_| true, 1 << 20).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
