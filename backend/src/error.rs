//! Errors of backends.

use std::fmt;

use dlbc_ops::program::Output;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Failure of a backend to plan or to run a program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// A program input without a tensor.
    #[error("missing input `{0}`: expected a tensor")]
    MissingInput(String),
    /// A requested output that the program does not have.
    #[error("unknown output `{0}`: expected an output of the program")]
    UnknownOutput(Output),
    /// A tensor beyond the limit.
    #[error("node `{node}` takes {bytes} bytes: the limit is {limit}")]
    Limit {
        /// Node that computes the tensor.
        node: String,
        /// Size in bytes; `u64::MAX` when it cannot be counted.
        bytes: u64,
        /// Largest size allowed, in bytes.
        limit: u64,
    },
    /// A value with more readers than the engine plans for in bounded time.
    #[error("value `{node}` has {readers} readers: the limit is {limit}")]
    Readers {
        /// Node that computes the value.
        node: String,
        /// Number of nodes that read it.
        readers: usize,
        /// Largest number allowed.
        limit: usize,
    },
    /// All nodes that the backend cannot run.
    #[error("backend {backend} cannot run {}", .nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Unsupported {
        /// Name of the backend.
        backend: &'static str,
        /// The nodes, each with its reason.
        nodes: Vec<Unsupported>,
    },
    /// A node that failed on these values: an index out of range, a division of integers by zero.
    #[error("{0}")]
    Node(String),
    /// An absent device, or one that a named kernel brought down.
    #[error("{0}")]
    Device(String),
    /// A device that stopped working.
    #[error("{0}")]
    DeviceLost(String),
    /// A device that did not finish its work in time.
    #[error("{0}")]
    DeviceTimeout(String),
    /// More memory needed than the device has.
    #[error("{0}")]
    DeviceMemory(String),
    /// A setting of the engine with an invalid value.
    #[error("{0}")]
    Setting(String),
    /// A bug in dlbc or in the engine below the backend.
    #[error("backend {backend} failed ({stage}): {message}")]
    Engine {
        /// Name of the backend.
        backend: &'static str,
        /// Stage that failed: planning, forward or reverse.
        stage: &'static str,
        /// Message of the engine.
        message: String,
    },
    /// A run whose token was cancelled.
    #[error("the run was cancelled")]
    Cancelled,
}

/// A node that a backend cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Name of the node.
    pub node: String,
    /// Name of the primitive, and the reason.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.node, self.reason)
    }
}

/// Kind of an error, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An invalid option.
    Usage,
    /// An invalid input.
    InvalidInput,
    /// A valid program that is not supported.
    Unsupported,
    /// A size beyond a limit.
    Limit,
    /// A device that is absent or too small.
    Device,
    /// A run that its caller cancelled.
    Cancelled,
    /// A bug in dlbc.
    Internal,
}

impl BackendError {
    /// Returns the kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            BackendError::MissingInput(_) | BackendError::Node(_) => ErrorKind::InvalidInput,
            BackendError::UnknownOutput(_) | BackendError::Setting(_) => ErrorKind::Usage,
            BackendError::Limit { .. } | BackendError::Readers { .. } => ErrorKind::Limit,
            BackendError::Unsupported { .. } => ErrorKind::Unsupported,
            BackendError::Device(_)
            | BackendError::DeviceLost(_)
            | BackendError::DeviceTimeout(_)
            | BackendError::DeviceMemory(_) => ErrorKind::Device,
            BackendError::Cancelled => ErrorKind::Cancelled,
            BackendError::Engine { .. } => ErrorKind::Internal,
        }
    }
}
