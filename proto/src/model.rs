//! Checked models and the files that they consist of.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{
    Limits, LocationFault, ModelFault, Name, ProtoError, SparseFault, TensorData, TensorFault,
    external::{self, External},
    folder::{self, Folder, OpenFault},
    onnx::{GraphProto, ModelProto, SparseTensorProto, TensorProto, tensor_proto},
    save::MAX_MESSAGE_BYTES,
    scan::scan,
    sparse, tensor,
    validate::{self, Fault},
    walk::{self, Item, Owner},
};

/// ONNX model within its limits, with access to its external data.
pub struct Model {
    /// Decoded model, unchanged.
    pub proto: ModelProto,
    /// Path of the model file; `None` for a model from memory.
    pub path: Option<PathBuf>,
    folder: Option<Folder>,
    /// Bytes of the model file; `None` for a model that was not decoded.
    source: Option<Bytes>,
    limits: Limits,
}

/// SHA-256 sum of a file that belongs to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// Path of an external file relative to the model's folder; `None` for the model file.
    pub location: Option<String>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 sum of the file.
    pub sha256: [u8; 32],
}

impl FileDigest {
    /// Returns the sum as lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        folder::hex(&self.sha256)
    }
}

/// Reads and checks the model at `path`. The file is mapped, not copied; external data is opened when it is requested.
///
/// # Errors
/// If the file cannot be read, is not a valid model, or exceeds `limits`.
pub fn read_model(path: &Path, limits: &Limits) -> Result<Model, ProtoError> {
    let read = |source| ProtoError::Read { path: path.to_owned(), source };
    let (file, file_type, file_bytes) = folder::open_model(path).map_err(read)?;
    if !file_type.is_file() {
        return Err(ProtoError::Model { file: name_of(Some(path)), fault: ModelFault::NotAFile });
    }
    check_size(file_bytes, limits).map_err(|fault| ProtoError::Model { file: name_of(Some(path)), fault })?;
    let source = folder::map(&file, file_bytes).map_err(read)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    let folder =
        Folder::open(parent, limits.allow_links, file_bytes, limits.max_model_bytes).map_err(read)?;
    Model::check(source, Some(path.to_owned()), Some(folder), limits)
}

/// Decodes and checks a model in memory, which must not have external data. The bytes are copied once.
///
/// # Errors
/// If the bytes are not a valid model or exceed `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Model, ProtoError> {
    check_size(bytes.len() as u64, limits)
        .map_err(|fault| ProtoError::Model { file: name_of(None), fault })?;
    Model::check(Bytes::copy_from_slice(bytes), None, None, limits)
}

fn check_size(actual: u64, limits: &Limits) -> Result<(), ModelFault> {
    let limit = limits.max_model_bytes.min(MAX_MESSAGE_BYTES);
    if actual > limit {
        return Err(ModelFault::TooLarge { what: "the model file", actual, limit });
    }
    Ok(())
}

fn name_of(path: Option<&Path>) -> Name {
    path.map_or(Name::plain("model"), |path| Name::new(&path.to_string_lossy()))
}

impl Model {
    /// Checks a model that was created in memory, like [`decode`].
    ///
    /// # Errors
    /// If the model is invalid, exceeds `limits`, or has external data.
    pub fn from_proto(proto: ModelProto, limits: &Limits) -> Result<Model, ProtoError> {
        Model { proto, path: None, folder: None, source: None, limits: limits.clone() }.validated()
    }

    fn check(
        source: Bytes,
        path: Option<PathBuf>,
        folder: Option<Folder>,
        limits: &Limits,
    ) -> Result<Model, ProtoError> {
        let file = || name_of(path.as_deref());
        scan(&source, limits).map_err(|fault| ProtoError::Model { file: file(), fault })?;
        let proto = ModelProto::decode(source.clone())
            .map_err(|source| ProtoError::Message { file: file(), source })?;
        Model { proto, path, folder, source: Some(source), limits: limits.clone() }.validated()
    }

    fn validated(self) -> Result<Model, ProtoError> {
        validate::validate(&self.proto, &self.limits).map_err(|fault| match fault {
            Fault::Model(fault) => ProtoError::Model { file: self.name(), fault },
            Fault::Tensor(tensor, fault) => self.tensor_fault(&tensor, fault),
        })?;
        if self.folder.is_none() {
            self.refuse_external(LocationFault::NoFolder)?;
        }
        Ok(self)
    }

    fn refuse_external(&self, fault: LocationFault) -> Result<(), ProtoError> {
        walk::visit(&self.proto, |item| match item {
            Item::Tensor(tensor, place) if is_external(tensor) => {
                let location = Name::new(external::parse(tensor).map_or("", |external| external.location));
                let fault = TensorFault::Location { location, fault: fault.clone() };
                Err(self.tensor_fault(&place.name(tensor), fault))
            }
            Item::Tensor(..) | Item::Graph { .. } | Item::Node => Ok(()),
        })
    }

    /// Returns the main graph.
    pub fn graph(&self) -> &GraphProto {
        static EMPTY: LazyLock<GraphProto> = LazyLock::new(GraphProto::default);
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// Resolves a tensor of the model from any encoding. Raw and external elements are not copied.
    ///
    /// # Errors
    /// If the elements are missing, do not match the shape, occur twice, exceed the limits, or are in a file that is
    /// refused.
    pub fn tensor(&self, tensor: &TensorProto) -> Result<TensorData, ProtoError> {
        self.resolve(tensor, &Owner::default().name(tensor))
    }

    /// Resolves a sparse tensor of the model to a dense one.
    ///
    /// # Errors
    /// Those of [`tensor`](Self::tensor), and if the indices are not ascending or out of range.
    pub fn sparse(&self, sparse: &SparseTensorProto) -> Result<TensorData, ProtoError> {
        let name = Name::new(sparse.values.as_ref().map_or("", |values| values.name()));
        let fault = |fault| self.tensor_fault(&name, fault);
        let missing = |what| fault(TensorFault::Sparse(what));
        let values = sparse.values.as_ref().ok_or_else(|| missing(SparseFault::NoValues))?;
        let indices = sparse.indices.as_ref().ok_or_else(|| missing(SparseFault::NoIndices))?;
        let values = self.resolve(values, &name)?;
        let indices = self.resolve(indices, &name)?;
        sparse::densify(&values, &indices, &sparse.dims, self.limits.max_tensor_bytes).map_err(fault)
    }

    /// Replaces all external data by embedded data without copying it, so that the model can be written elsewhere.
    ///
    /// # Errors
    /// Those of [`tensor`](Self::tensor).
    pub fn embed(mut self) -> Result<ModelProto, ProtoError> {
        let mut proto = std::mem::take(&mut self.proto);
        walk::change_tensors(&mut proto, |tensor| {
            if is_external(tensor) {
                tensor.raw_data = Some(self.tensor(tensor)?.bytes);
                tensor.external_data.clear();
                tensor.data_location = None;
            }
            Ok(())
        })?;
        Ok(proto)
    }

    /// Returns the paths of all external files relative to the model's folder, sorted.
    pub fn external_files(&self) -> Vec<PathBuf> {
        self.external_tensors().into_keys().collect()
    }

    /// Returns the SHA-256 sums of the model file and of each external file.
    ///
    /// # Errors
    /// If an external file is refused or cannot be read.
    pub fn digests(&self) -> Result<Vec<FileDigest>, ProtoError> {
        let digest = |location, bytes: &Bytes| FileDigest {
            location,
            bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
        };
        let encoded = || Bytes::from(self.proto.encode_to_vec());
        let mut digests = vec![digest(None, &self.source.clone().unwrap_or_else(encoded))];
        for (path, (tensor, name)) in self.external_tensors() {
            let external = external::parse(tensor).map_err(|fault| self.tensor_fault(&name, fault))?;
            let mapped = self.open(&external, &name)?;
            digests.push(digest(Some(path.to_string_lossy().into_owned()), &mapped.bytes));
        }
        Ok(digests)
    }

    /// Returns the first tensor in each external file, with its name for messages.
    fn external_tensors(&self) -> BTreeMap<PathBuf, (&TensorProto, Name)> {
        let mut files = BTreeMap::new();
        let Ok(()) = walk::visit(&self.proto, |item| {
            if let Item::Tensor(tensor, place) = item
                && is_external(tensor)
                && let Ok(external) = external::parse(tensor)
            {
                files.entry(external.path).or_insert_with(|| (tensor, place.name(tensor)));
            }
            Ok::<(), Infallible>(())
        });
        files
    }

    fn resolve(&self, tensor: &TensorProto, name: &Name) -> Result<TensorData, ProtoError> {
        let max_bytes = self.limits.max_tensor_bytes;
        tensor::resolve(tensor, max_bytes, |external| {
            self.slice(external, name).map_err(Box::new).map_err(Refusal::Error)
        })
        .map_err(|refusal| match refusal {
            Refusal::Fault(fault) => self.tensor_fault(name, fault),
            Refusal::Error(error) => *error,
        })
    }

    /// Returns the bytes of a tensor's external data.
    fn slice(&self, external: &External<'_>, name: &Name) -> Result<Bytes, ProtoError> {
        let mapped = self.open(external, name)?;
        let file_bytes = mapped.bytes.len() as u64;
        let length = external.length.unwrap_or(file_bytes.saturating_sub(external.offset));
        match external.offset.checked_add(length) {
            Some(end) if end <= file_bytes => Ok(mapped.bytes.slice(external.offset as usize..end as usize)),
            _ => {
                let fault = LocationFault::Range { offset: external.offset, length, file_bytes };
                Err(self.location_fault(external, name, fault))
            }
        }
    }

    fn open(&self, external: &External<'_>, name: &Name) -> Result<Arc<folder::Mapped>, ProtoError> {
        let Some(folder) = &self.folder else {
            return Err(self.location_fault(external, name, LocationFault::NoFolder));
        };
        let mapped = folder.map(&external.path).map_err(|fault| match fault {
            OpenFault::Location(fault) => self.location_fault(external, name, fault),
            OpenFault::Io(source) => ProtoError::External {
                file: self.name(),
                tensor: name.clone(),
                location: Name::new(external.location),
                source,
            },
        })?;
        if let Some(expected) = &external.checksum
            && mapped.sha1() != expected
        {
            let (actual, expected) = (mapped.sha1().to_owned(), expected.clone());
            return Err(self.location_fault(external, name, LocationFault::Checksum { actual, expected }));
        }
        Ok(mapped)
    }

    fn location_fault(&self, external: &External<'_>, name: &Name, fault: LocationFault) -> ProtoError {
        self.tensor_fault(name, TensorFault::Location { location: Name::new(external.location), fault })
    }

    fn tensor_fault(&self, name: &Name, fault: TensorFault) -> ProtoError {
        ProtoError::Tensor { file: self.name(), tensor: name.clone(), fault: Box::new(fault) }
    }

    fn name(&self) -> Name {
        name_of(self.path.as_deref())
    }
}

/// Reason that a tensor was refused: a fault of the tensor, or an error of its file.
enum Refusal {
    Fault(TensorFault),
    Error(Box<ProtoError>),
}

impl From<TensorFault> for Refusal {
    fn from(fault: TensorFault) -> Self {
        Refusal::Fault(fault)
    }
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() == tensor_proto::DataLocation::External
}
