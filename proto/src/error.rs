//! Why a model could not be read or written.
//!
//! A [`ProtoError`] says where (file, tensor), a fault says what. Names from the file are escaped.

use std::{io, path::PathBuf};

use crate::fault::TensorFault;
use crate::kind::ErrorKind;
use crate::name::Name;

/// A file could not be read, checked or written.
#[derive(Debug, thiserror::Error)]
pub enum ProtoError {
    /// The operating system refused to open or read a file.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused to write a file.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not a message of the format.
    #[error("{file}: not a valid model message")]
    Message {
        /// The file.
        file: Name,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// The model as a whole is refused.
    #[error("{file}: {fault}")]
    Model {
        /// The file.
        file: Name,
        /// What is wrong.
        fault: ModelFault,
    },
    /// The operating system refused to open or read the external data of a tensor.
    #[error("{file}: tensor {tensor}: cannot read external data {location}")]
    External {
        /// The file.
        file: Name,
        /// The tensor's name, or the node and attribute that hold it.
        tensor: Name,
        /// The location as the model gives it.
        location: Name,
        /// What the system said.
        source: io::Error,
    },
    /// A tensor is refused.
    #[error("{file}: tensor {tensor}: {fault}")]
    Tensor {
        /// The file.
        file: Name,
        /// The tensor's name, or the node and attribute that hold it.
        tensor: Name,
        /// What is wrong.
        fault: Box<TensorFault>,
    },
}

impl ProtoError {
    /// What a caller can do about the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ProtoError::Read { .. } | ProtoError::Write { .. } | ProtoError::External { .. } => ErrorKind::Io,
            ProtoError::Message { .. } => ErrorKind::Invalid,
            ProtoError::Model { fault, .. } => fault.kind(),
            ProtoError::Tensor { fault, .. } => fault.kind(),
        }
    }
}

/// What is wrong with a model as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelFault {
    /// The path leads to a folder, device or pipe.
    #[error("not a regular file")]
    NotAFile,
    /// The bytes do not follow the wire format.
    #[error("not a valid model message: byte {offset}: {problem}")]
    Malformed {
        /// Where, in bytes from the start.
        offset: usize,
        /// What.
        problem: &'static str,
    },
    /// There is no graph.
    #[error("the model has no graph")]
    NoGraph,
    /// The file holds a second graph, which readers would merge in different ways.
    #[error("the model has more than one graph")]
    TwoGraphs,
    /// There is no format version.
    #[error("the model has no ir_version")]
    NoIrVersion,
    /// The format version is not one that is known.
    #[error("expected ir_version {} to {}, found {actual}", crate::MIN_IR_VERSION, crate::MAX_IR_VERSION)]
    IrVersion {
        /// The version of the file.
        actual: i64,
    },
    /// There is no operator set.
    #[error("the model imports no operator set")]
    NoOpset,
    /// An operator set has no positive version.
    #[error("operator set {domain}: expected a version of at least 1, found {actual}")]
    OpsetVersion {
        /// Domain of the operator set.
        domain: Name,
        /// The version of the file.
        actual: i64,
    },
    /// One domain is imported in two versions.
    #[error("operator set {domain} is imported in versions {first} and {second}")]
    TwoOpsets {
        /// Domain of the operator sets.
        domain: Name,
        /// One version.
        first: i64,
        /// The other version.
        second: i64,
    },
    /// Two functions have the same domain, name and overload.
    #[error("function {function} is defined twice")]
    TwoFunctions {
        /// The function.
        function: Name,
    },
    /// More bytes than allowed.
    #[error("{what} would take {actual} bytes, the limit is {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        actual: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// More nodes than allowed.
    #[error("the model has more than {limit} nodes")]
    TooManyNodes {
        /// How many are allowed.
        limit: usize,
    },
    /// Graphs are nested deeper than allowed.
    #[error("graphs are nested more than {limit} deep")]
    TooDeep {
        /// How deep is allowed.
        limit: usize,
    },
    /// Messages are nested deeper than the decoder goes.
    #[error("messages are nested more than {limit} deep")]
    MessagesTooDeep {
        /// How deep is allowed.
        limit: usize,
    },
}

impl ModelFault {
    fn kind(&self) -> ErrorKind {
        match self {
            ModelFault::NotAFile
            | ModelFault::Malformed { .. }
            | ModelFault::NoGraph
            | ModelFault::TwoGraphs
            | ModelFault::NoIrVersion
            | ModelFault::NoOpset
            | ModelFault::OpsetVersion { .. }
            | ModelFault::TwoOpsets { .. }
            | ModelFault::TwoFunctions { .. } => ErrorKind::Invalid,
            ModelFault::IrVersion { .. } => ErrorKind::Unsupported,
            ModelFault::TooLarge { .. }
            | ModelFault::TooManyNodes { .. }
            | ModelFault::TooDeep { .. }
            | ModelFault::MessagesTooDeep { .. } => ErrorKind::Limit,
        }
    }
}
