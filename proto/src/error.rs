//! Errors of reading and writing models.
//!
//! A [`ProtoError`] names the file and tensor; a fault names the problem. Names from files are escaped.

use std::{io, path::PathBuf};

use crate::fault::TensorFault;
use crate::kind::ErrorKind;
use crate::name::Name;

#[cfg(test)]
mod tests;

/// Error of a file that cannot be read, checked or written.
#[derive(Debug, thiserror::Error)]
pub enum ProtoError {
    /// The operating system cannot open or read a file.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The operating system cannot write a file.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The bytes are not a protobuf message of the format.
    #[error("{file}: invalid model message")]
    Message {
        /// Name of the file.
        file: Name,
        /// Error of the protobuf decoder.
        source: prost::DecodeError,
    },
    /// The model as a whole is refused.
    #[error("{file}: {fault}")]
    Model {
        /// Name of the file.
        file: Name,
        /// Reason of the refusal.
        fault: ModelFault,
    },
    /// The operating system cannot open or read the external data of a tensor.
    #[error("{file}: tensor {tensor}: cannot read external data {location}")]
    External {
        /// Name of the model file.
        file: Name,
        /// Name of the tensor, or of the node and attribute that hold it.
        tensor: Name,
        /// Location of the external data, as in the model.
        location: Name,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A tensor is refused.
    #[error("{file}: {}", tensor_fault(.tensor, .fault))]
    Tensor {
        /// Name of the model file.
        file: Name,
        /// Name of the tensor, or of the node and attribute that hold it.
        tensor: Name,
        /// Reason of the refusal.
        fault: Box<TensorFault>,
    },
}

/// Joins the tensor and its fault: with a verb for the tensor's size, with a comma for a place in the tensor.
fn tensor_fault(tensor: &Name, fault: &TensorFault) -> String {
    match fault {
        TensorFault::TooLarge { actual, limit } => {
            format!("tensor {tensor} takes {actual} bytes: the limit is {limit}")
        }
        TensorFault::External(_) | TensorFault::Location { .. } => format!("tensor {tensor}, {fault}"),
        TensorFault::Sparse(fault) => format!("sparse tensor {tensor}: {fault}"),
        _ => format!("tensor {tensor}: {fault}"),
    }
}

impl ProtoError {
    /// Returns the kind of the error, by what a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ProtoError::Read { .. } | ProtoError::Write { .. } | ProtoError::External { .. } => ErrorKind::Io,
            ProtoError::Message { .. } => ErrorKind::Invalid,
            ProtoError::Model { fault, .. } => fault.kind(),
            ProtoError::Tensor { fault, .. } => fault.kind(),
        }
    }
}

/// Reason for refusing a model as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelFault {
    /// The path leads to a folder, device or pipe.
    #[error("expected a regular file")]
    NotAFile,
    /// The bytes do not follow the protobuf wire format.
    #[error("invalid model message at byte {offset}: {problem}")]
    Malformed {
        /// Position of the error, in bytes from the start of the file.
        offset: usize,
        /// Description of the error.
        problem: &'static str,
    },
    /// The model has no graph.
    #[error("expected a model with a graph, found none")]
    NoGraph,
    /// The file contains a second graph, which decoders would merge in different ways.
    #[error("expected a model with one graph, found several")]
    TwoGraphs,
    /// The model has no `ir_version`.
    #[error("expected a model with an ir_version, found none")]
    NoIrVersion,
    /// The `ir_version` is not supported.
    #[error("expected ir_version {} to {}, found {actual}", crate::MIN_IR_VERSION, crate::MAX_IR_VERSION)]
    IrVersion {
        /// `ir_version` of the model.
        actual: i64,
    },
    /// The model imports no operator set.
    #[error("expected a model that imports an operator set, found none")]
    NoOpset,
    /// The version of an operator set is not positive.
    #[error("operator set {domain}: expected a version of at least 1, found {actual}")]
    OpsetVersion {
        /// Domain of the operator set.
        domain: Name,
        /// Version of the operator set.
        actual: i64,
    },
    /// A domain is imported in two versions.
    #[error("operator set {domain}: expected one version, found {first} and {second}")]
    TwoOpsets {
        /// Domain of the operator sets.
        domain: Name,
        /// Version that is imported first.
        first: i64,
        /// Version that is imported second.
        second: i64,
    },
    /// Two functions have the same domain, name and overload.
    #[error("function {function}: expected one definition, found two")]
    TwoFunctions {
        /// Domain and name of the function.
        function: Name,
    },
    /// A size exceeds its limit.
    #[error("{what} takes {actual} bytes: the limit is {limit}")]
    TooLarge {
        /// Name of the quantity, such as the model file.
        what: &'static str,
        /// Size in bytes.
        actual: u64,
        /// Largest permitted size in bytes.
        limit: u64,
    },
    /// The number of nodes exceeds its limit.
    #[error("the model has too many nodes: the limit is {limit}")]
    TooManyNodes {
        /// Largest permitted number of nodes.
        limit: usize,
    },
    /// The nesting of graphs exceeds its limit.
    #[error("graphs are nested too deep: the limit is {limit}")]
    TooDeep {
        /// Largest permitted depth; the main graph has depth 1.
        limit: usize,
    },
    /// The nesting of protobuf messages exceeds that of the decoder.
    #[error("messages are nested too deep: the limit is {limit}")]
    MessagesTooDeep {
        /// Largest permitted depth.
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
