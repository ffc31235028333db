//! Kinds of files by their first bytes, for messages about a file that is not what a flag expects.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::results::keys::starts_with_relevance;

/// Number of bytes at the start of a file that are inspected.
const HEAD: u64 = 4096;

/// Number of entries of an archive that are inspected.
#[cfg(feature = "npz")]
const ENTRIES: usize = 1000;

/// Kind of a file, recognised by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An ONNX model.
    Onnx,
    /// A .npy array.
    Npy,
    /// An .npz archive of arrays.
    Npz,
    /// A result of `dlbc run --out FILE.npz`.
    ResultNpz,
    /// A result of `dlbc run --out FILE.json`.
    ResultJson,
    /// A safetensors file.
    Safetensors,
    /// A pickle of scikit-learn, by `pickle` or `joblib`.
    SklearnPickle,
    /// Another Python pickle.
    Pickle,
    /// A PyTorch checkpoint, TorchScript or `torch.export` archive.
    PyTorch,
    /// A Keras model: an HDF5 file, or a .keras archive.
    Keras,
    /// A TensorFlow SavedModel, as a folder or its .pb file, or a frozen graph.
    TensorFlow,
    /// A TensorFlow Lite model.
    TfLite,
    /// A GGUF model.
    Gguf,
    /// An ONNX Runtime model in its .ort format.
    Ort,
    /// A Git LFS pointer: the file itself was not downloaded.
    LfsPointer,
    /// A web page.
    Html,
    /// A compressed file.
    Gzip,
    /// Another zip archive.
    Zip,
    /// A Parquet file.
    Parquet,
    /// A picture.
    Picture,
    /// Comma-separated values.
    Csv,
    /// A JSON text.
    Json,
    /// A composite or another TOML file.
    Toml,
    /// A folder.
    Folder,
    /// An empty file.
    Empty,
}

impl Content {
    /// Returns the kind as a noun with its article, for messages.
    pub fn noun(self) -> &'static str {
        match self {
            Content::Onnx => "an ONNX model",
            Content::Npy => "a .npy array",
            Content::Npz => "an .npz archive of arrays",
            Content::ResultNpz | Content::ResultJson => "a result file of dlbc",
            Content::Safetensors => "a safetensors file, which holds tensors without a graph",
            Content::SklearnPickle => "a Python pickle of scikit-learn",
            Content::Pickle => "a Python pickle",
            Content::PyTorch => "a PyTorch file",
            Content::Keras => "a Keras model (HDF5)",
            Content::TensorFlow => "a TensorFlow model",
            Content::TfLite => "a TensorFlow Lite model",
            Content::Gguf => "a GGUF model",
            Content::Ort => "a model in ONNX Runtime's ORT format",
            Content::LfsPointer => "a Git LFS pointer",
            Content::Html => "a web page (HTML)",
            Content::Gzip => "a compressed file",
            Content::Zip => "a zip archive",
            Content::Parquet => "a Parquet file",
            Content::Picture => "a picture",
            Content::Csv => "a CSV table",
            Content::Json => "a JSON text",
            Content::Toml => "a TOML text",
            Content::Folder => "a folder",
            Content::Empty => "an empty file",
        }
    }

    /// Returns whether files of this kind are binary.
    pub fn is_binary(self) -> bool {
        use Content::{Csv, Empty, Folder, Html, Json, LfsPointer, ResultJson, Toml};
        !matches!(self, Csv | Empty | Folder | Html | Json | LfsPointer | ResultJson | Toml)
    }
}

/// Recognises the kind of a file; `None` if it cannot be read or is not a known kind.
pub fn content(path: &Path) -> Option<Content> {
    if path.is_dir() {
        let saved = path.join("saved_model.pb").is_file();
        return Some(if saved { Content::TensorFlow } else { Content::Folder });
    }
    let file = File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = vec![];
    (&file).take(HEAD).read_to_end(&mut head).ok()?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Some(archive(path).unwrap_or(Content::Zip));
    }
    of_bytes(&head)
}

/// Recognises a zip archive by the names of its entries.
#[cfg(feature = "npz")]
fn archive(path: &Path) -> Option<Content> {
    let archive = zip::ZipArchive::new(std::io::BufReader::new(File::open(path).ok()?)).ok()?;
    let names: Vec<&str> = archive.file_names().take(ENTRIES).collect();
    let any = |fits: &dyn Fn(&str) -> bool| names.iter().any(|n| fits(n));
    Some(if any(&starts_with_relevance) {
        Content::ResultNpz
    } else if any(&|n| n.ends_with(".npy")) {
        Content::Npz
    } else if any(&|n| n.ends_with("data.pkl") || n.ends_with("serialized_exported_program.json")) {
        Content::PyTorch
    } else if any(&|n| n.ends_with(".weights.h5")) {
        Content::Keras
    } else {
        Content::Zip
    })
}

/// Zip archives are not opened without the feature `npz`.
#[cfg(not(feature = "npz"))]
fn archive(_: &Path) -> Option<Content> {
    None
}

/// Recognises a file, except a zip archive, by its first bytes.
fn of_bytes(head: &[u8]) -> Option<Content> {
    let has = |text: &str| head.windows(text.len()).any(|w| w == text.as_bytes());
    let at_four = head.get(4..8).unwrap_or_default();
    Some(match head {
        [] => Content::Empty,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Content::Npy,
        [0x1f, 0x8b, ..] | [b'B', b'Z', b'h', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', ..] => {
            Content::Gzip
        }
        [0x89, b'H', b'D', b'F', ..] => Content::Keras,
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            Content::Picture
        }
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Content::Picture,
        [b'P', b'A', b'R', b'1', ..] => Content::Parquet,
        [b'G', b'G', b'U', b'F', ..] => Content::Gguf,
        // A pickle says its protocol; old checkpoints of PyTorch begin with a number of their own.
        [0x80, 2..=5, ..] if has("sklearn") => Content::SklearnPickle,
        [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, ..] => Content::PyTorch,
        [0x80, 2..=5, ..] => Content::Pickle,
        _ if at_four == b"TFL3" => Content::TfLite,
        _ if at_four == b"ORTM" => Content::Ort,
        // A header of JSON after its length, in eight bytes.
        [_, _, _, _, _, 0, 0, 0, b'{', ..] => Content::Safetensors,
        // `ir_version`, then a field of text or the graph. A SavedModel has a version there too, and its graph second.
        [8, 1, 0x12, ..] if has("serve") || has("tensorflow") || has("Placeholder") => Content::TensorFlow,
        [8, 1..=32, 0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42, ..] => Content::Onnx,
        [0x0a, ..] if has("Placeholder") || has("tensorflow") => Content::TensorFlow,
        _ => text(head)?,
    })
}

/// Recognises a text file by its content.
fn text(head: &[u8]) -> Option<Content> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}');
    if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return None;
    }
    let start = text.trim_start();
    let lower = start.get(..start.len().min(100)).unwrap_or(start).to_ascii_lowercase();
    if start.starts_with("version https://git-lfs") {
        return Some(Content::LfsPointer);
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.starts_with("<head") {
        return Some(Content::Html);
    }
    if start.starts_with(['{', '[']) && !start.starts_with("[[rule]]") {
        let result = start.match_indices('"').any(|(at, _)| starts_with_relevance(&start[at + 1..]));
        return Some(if result { Content::ResultJson } else { Content::Json });
    }
    if start.starts_with("[[rule]]") || start.contains("\n[[rule]]") {
        return Some(Content::Toml);
    }
    let cut = head.len() as u64 == HEAD;
    let lines: Vec<&str> = start.lines().collect();
    let whole = if cut && lines.len() > 1 { &lines[..lines.len() - 1] } else { &lines[..] };
    let cells = |line: &str| [',', ';', '\t'].map(|c| line.matches(c).count());
    let counts = cells(whole.first()?);
    let column = counts.iter().position(|n| *n > 0)?;
    let same = whole.iter().filter(|l| !l.is_empty()).all(|l| cells(l)[column] == counts[column]);
    (same && whole.len() > 1).then_some(Content::Csv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_kind() {
        for (head, content) in [
            (&b""[..], Content::Empty),
            (b"\x93NUMPY\x01\x00v\x00{'descr'", Content::Npy),
            (b"\x80\x04\x95\x00\x00csklearn.neural_network", Content::SklearnPickle),
            (b"\x80\x03}q\x00", Content::Pickle),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", Content::PyTorch),
            (b"\x89HDF\r\n\x1a\n", Content::Keras),
            (b"\x1c\x00\x00\x00TFL3", Content::TfLite),
            (b"\x1c\x00\x00\x00ORTM", Content::Ort),
            (b"GGUF\x03\x00\x00\x00", Content::Gguf),
            (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"x\":{}}", Content::Safetensors),
            (b"\x08\x01\x12\x90\x04\n\x07\x12\x05serve", Content::TensorFlow),
            (b"\n\x14\n\x01x\x12\x0bPlaceholder", Content::TensorFlow),
            (b"\x08\x08\x12\x07pytorch", Content::Onnx),
            (b"\x1f\x8b\x08\x00", Content::Gzip),
            (b"version https://git-lfs.github.com/spec/v1\noid", Content::LfsPointer),
            (b"\n<!DOCTYPE html>\n<html>", Content::Html),
            (b"PAR1\x15\x04", Content::Parquet),
            (b"\x89PNG\r\n\x1a\n", Content::Picture),
            (b"a,b\n1,2\n3,4\n", Content::Csv),
            (b"a;b\n1;2\n", Content::Csv),
            (b"{\"relevance/x\": {}}", Content::ResultJson),
            (b"{\"version\": \"1.0\"}", Content::Json),
            (b"name = \"mine\"\n\n[[rule]]\nop = \"Add\"\n", Content::Toml),
        ] {
            assert_eq!(of_bytes(head), Some(content), "{head:?}");
        }
        for head in [&b"\x07\x07\x07\x07"[..], b"A waste of time, really.", b"one line", b"a,b\n1,2,3\n"] {
            assert_eq!(of_bytes(head), None, "{head:?}");
        }
    }
}
