//! Writing of models: atomically, with large weights in a file beside the model if needed.
//!
//! Only messages without weights are held in memory: initializers are written one after another. Names from the model
//! are never used as paths.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;
use tempfile::NamedTempFile;

use crate::{
    LocationFault, ModelFault, Name, ProtoError, TensorFault,
    onnx::{GraphProto, ModelProto, TensorProto, tensor_proto::DataLocation},
    tensor,
    walk::{self, Item},
    write,
};

/// Largest size of a message in the format, in bytes.
pub const MAX_MESSAGE_BYTES: u64 = i32::MAX as u64;

/// Alignment of external data in its file in bytes, so that it can be mapped.
const ALIGNMENT: u64 = 4096;

/// Size in bytes of the largest initializer that stays in the model file if the model is split.
const KEEP_BYTES: u64 = 1024;

/// Options for writing a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Initializers of more than this number of bytes are written to a file beside the model, named like the model with
    /// `.data` appended. `None` splits the model only if it does not fit into one file.
    pub external_above: Option<u64>,
}

/// Encodes a model as bytes.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Writes a model to `path` with default options, replacing the file atomically.
///
/// # Errors
/// Those of [`write_model_with`].
pub fn write_model(path: &Path, model: &ModelProto) -> Result<(), ProtoError> {
    write_model_with(path, model, &WriteOptions::default())
}

/// Writes a model to `path`, replacing the file atomically.
///
/// # Errors
/// If the file cannot be written, the model without its initializers exceeds the size of the format, or a tensor has
/// external data (see [`Model::embed`](crate::Model::embed)). No file is left behind.
pub fn write_model_with(path: &Path, model: &ModelProto, options: &WriteOptions) -> Result<(), ProtoError> {
    write_within(path, model, options, MAX_MESSAGE_BYTES)
}

/// Writes a model whose file may take `limit` bytes.
fn write_within(
    path: &Path,
    model: &ModelProto,
    options: &WriteOptions,
    limit: u64,
) -> Result<(), ProtoError> {
    refuse_external(path, model)?;
    let above = match options.external_above {
        Some(above) => Some(above),
        None => (model.encoded_len() as u64 > limit).then_some(KEEP_BYTES),
    };
    let mut parts = split(model);
    let mut data = None;
    if let Some(above) = above {
        data = write_data(path, &mut parts, above)?;
    }
    let message_bytes = parts.message_bytes();
    if message_bytes > limit {
        let fault = ModelFault::TooLarge { what: "the model file", actual: message_bytes, limit };
        return Err(ProtoError::Model { file: Name::new(&path.to_string_lossy()), fault });
    }
    let file = write_beside(path, |out| parts.write(out))?;
    if let Some((data_path, data)) = data {
        persist(data, &data_path)?;
    }
    persist(file, path)
}

fn refuse_external(path: &Path, model: &ModelProto) -> Result<(), ProtoError> {
    walk::visit(model, |item| match item {
        Item::Tensor(tensor, place) if tensor.data_location() == DataLocation::External => {
            let location = tensor.external_data.iter().find(|entry| entry.key() == "location");
            let location = Name::new(location.map_or("", |entry| entry.value()));
            Err(ProtoError::Tensor {
                file: Name::new(&path.to_string_lossy()),
                tensor: place.name(tensor),
                fault: Box::new(TensorFault::Location { location, fault: LocationFault::NotEmbedded }),
            })
        }
        Item::Tensor(..) | Item::Graph { .. } | Item::Node => Ok(()),
    })
}

/// Model in parts, which are written one after another.
struct Parts {
    /// Encoded model without its graph.
    shell: Vec<u8>,
    /// Encoded graph without its initializers; `None` if the model has no graph.
    graph: Option<Vec<u8>>,
    initializers: Vec<Initializer>,
}

/// Initializer without its raw data, and the raw data.
struct Initializer {
    tensor: TensorProto,
    raw: Option<Bytes>,
}

fn split(model: &ModelProto) -> Parts {
    let shell = ModelProto {
        graph: None,
        opset_import: model.opset_import.clone(),
        functions: model.functions.clone(),
        metadata_props: model.metadata_props.clone(),
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: model.doc_string.clone(),
    };
    let graph = model.graph.as_ref().map(|graph| GraphProto {
        initializer: Vec::new(),
        node: graph.node.clone(),
        name: graph.name.clone(),
        sparse_initializer: graph.sparse_initializer.clone(),
        doc_string: graph.doc_string.clone(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        value_info: graph.value_info.clone(),
        quantization_annotation: graph.quantization_annotation.clone(),
        metadata_props: graph.metadata_props.clone(),
    });
    let initializers = model.graph.iter().flat_map(|graph| &graph.initializer).map(|tensor| {
        let raw = tensor.raw_data.clone();
        Initializer { tensor: TensorProto { raw_data: None, ..tensor.clone() }, raw }
    });
    let initializers = initializers.collect();
    Parts { shell: encode(&shell), graph: graph.map(|graph| graph.encode_to_vec()), initializers }
}

impl Initializer {
    fn raw_field_bytes(&self) -> u64 {
        self.raw.as_ref().map_or(0, |raw| field_bytes(9, raw.len() as u64))
    }

    fn bytes(&self) -> u64 {
        self.tensor.encoded_len() as u64 + self.raw_field_bytes()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_key(out, 5, self.bytes())?;
        out.write_all(&self.tensor.encode_to_vec())?;
        if let Some(raw) = &self.raw {
            write_key(out, 9, raw.len() as u64)?;
            out.write_all(raw)?;
        }
        Ok(())
    }
}

impl Parts {
    fn graph_bytes(&self) -> Option<u64> {
        let graph = self.graph.as_ref()?.len() as u64;
        let initializers = self.initializers.iter().map(|initializer| field_bytes(5, initializer.bytes()));
        Some(graph + initializers.sum::<u64>())
    }

    fn message_bytes(&self) -> u64 {
        self.shell.len() as u64 + self.graph_bytes().map_or(0, |bytes| field_bytes(7, bytes))
    }

    /// Writes the model with the graph last, so that a file that is cut off is refused.
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.shell)?;
        if let (Some(graph), Some(bytes)) = (&self.graph, self.graph_bytes()) {
            write_key(out, 7, bytes)?;
            out.write_all(graph)?;
            for initializer in &self.initializers {
                initializer.write(out)?;
            }
        }
        Ok(())
    }
}

/// Returns the size in bytes of a length-delimited field, including its key.
fn field_bytes(field: u64, length: u64) -> u64 {
    let mut head = Vec::new();
    prost::encoding::encode_varint(field << 3 | 2, &mut head);
    prost::encoding::encode_varint(length, &mut head);
    head.len() as u64 + length
}

fn write_key(out: &mut dyn Write, field: u64, length: u64) -> io::Result<()> {
    let mut head = Vec::new();
    prost::encoding::encode_varint(field << 3 | 2, &mut head);
    prost::encoding::encode_varint(length, &mut head);
    out.write_all(&head)
}

/// Moves the elements of large initializers to a temporary file beside `path`.
fn write_data(
    path: &Path,
    parts: &mut Parts,
    above: u64,
) -> Result<Option<(PathBuf, NamedTempFile)>, ProtoError> {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".data");
    let data_path = path.with_file_name(&name);
    let location = name.to_string_lossy();
    if location.as_bytes() != name.as_encoded_bytes() {
        let source = io::Error::new(io::ErrorKind::InvalidFilename, "external data needs a name in UTF-8");
        return Err(ProtoError::Write { path: data_path, source });
    }
    let mut moved = false;
    let file = write_beside(&data_path, |out| {
        let mut at = 0u64;
        for initializer in &mut parts.initializers {
            let Some(bytes) = take_elements(initializer, above) else { continue };
            let offset = at.next_multiple_of(ALIGNMENT);
            io::copy(&mut io::Read::take(io::repeat(0), offset - at), out)?;
            out.write_all(&bytes)?;
            at = offset + bytes.len() as u64;
            moved = true;
            initializer.tensor.data_location = Some(DataLocation::External as i32);
            initializer.tensor.external_data = vec![
                write::metadata("location", &location),
                write::metadata("offset", &offset.to_string()),
                write::metadata("length", &bytes.len().to_string()),
            ];
        }
        Ok(())
    })?;
    Ok(moved.then_some((data_path, file)))
}

/// Removes and returns the elements of an initializer if they take more than `above` bytes.
fn take_elements(initializer: &mut Initializer, above: u64) -> Option<Bytes> {
    if let Some(raw) = &initializer.raw {
        return if raw.len() as u64 > above { initializer.raw.take() } else { None };
    }
    let refuse = |_: &crate::external::External<'_>| Err(TensorFault::NoElements);
    let bytes = tensor::resolve(&initializer.tensor, u64::MAX, refuse).ok()?.bytes;
    if bytes.len() as u64 <= above {
        return None;
    }
    let tensor = &mut initializer.tensor;
    tensor.float_data = Vec::new();
    tensor.double_data = Vec::new();
    tensor.int32_data = Vec::new();
    tensor.int64_data = Vec::new();
    tensor.uint64_data = Vec::new();
    Some(bytes)
}

/// Writes a temporary file in the folder of `path`, which is deleted unless it is persisted.
fn write_beside(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<NamedTempFile, ProtoError> {
    let fail = |source| ProtoError::Write { path: path.to_owned(), source };
    refuse_special(path).map_err(fail)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dlbc-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(parent).map_err(fail)?;
    let mut out = BufWriter::with_capacity(1 << 16, file.as_file_mut());
    write(&mut out).and_then(|()| out.flush()).map_err(fail)?;
    drop(out);
    Ok(file)
}

/// Refuses to replace a folder, device or pipe. A link is replaced; its target is unchanged.
fn refuse_special(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(existing) if !existing.is_file() && !existing.is_symlink() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "expected a regular file"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn persist(file: NamedTempFile, path: &Path) -> Result<(), ProtoError> {
    match file.persist(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(ProtoError::Write { path: path.to_owned(), source: error.error }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{DataType, ErrorKind, Limits, read_model};

    fn model(initializers: Vec<TensorProto>) -> ModelProto {
        write::model(write::graph("g", vec![], initializers, vec![], vec![]), vec![write::opset("", 17)])
    }

    #[test]
    fn a_model_that_does_not_fit_is_split() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let weight = |name, bytes: u64| write::tensor(name, DataType::U8, &[bytes], vec![3; bytes as usize]);
        let whole = model(vec![weight("big", 8000), weight("small", 1024)]);
        write_within(&path, &whole, &WriteOptions::default(), 10_000).unwrap();
        assert!(!folder.path().join("model.onnx.data").exists());
        write_within(&path, &whole, &WriteOptions::default(), 9_000).unwrap();
        assert_eq!(fs::metadata(folder.path().join("model.onnx.data")).unwrap().len(), 8000);
        let read = read_model(&path, &Limits::default()).unwrap();
        for (tensor, bytes) in read.graph().initializer.iter().zip([8000, 1024]) {
            assert_eq!(read.tensor(tensor).unwrap().bytes, vec![3; bytes]);
        }
    }

    #[test]
    fn a_model_that_cannot_be_split_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let many = model(vec![write::tensor("small", DataType::U8, &[1000], vec![0; 1000]); 10]);
        let refused = write_within(&path, &many, &WriteOptions::default(), 9_000).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_size_is_that_of_the_encoder() {
        for count in [0, 1, 20, 200] {
            let model = model(vec![write::tensor("w", DataType::U8, &[count], vec![1; count as usize]); 3]);
            let parts = split(&model);
            let mut written = Vec::new();
            parts.write(&mut written).unwrap();
            assert_eq!(parts.message_bytes(), written.len() as u64);
            assert_eq!(written.len(), encode(&model).len());
        }
    }
}
