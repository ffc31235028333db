//! Errors of operators and primitives. They never name a node: whoever drives them adds it once.

use thiserror::Error;

/// Why an operator or a primitive cannot be read, typed or built.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpError {
    /// Wrong number of inputs.
    #[error("{expected} inputs expected, found {found}")]
    Arity {
        /// What the operator takes.
        expected: String,
        /// What it got.
        found: usize,
    },
    /// A shape does not fit.
    #[error("{what}: {expected} expected, found {found}")]
    Mismatch {
        /// Which property.
        what: String,
        /// The expected value.
        expected: String,
        /// The found value.
        found: String,
    },
    /// Two shapes do not broadcast.
    #[error("shapes {a} and {b} do not broadcast")]
    Broadcast {
        /// The first shape.
        a: String,
        /// The second shape.
        b: String,
    },
    /// An axis outside the rank.
    #[error("axis {axis} is out of range for rank {rank}")]
    Axis {
        /// The axis.
        axis: i64,
        /// The rank.
        rank: usize,
    },
    /// An attribute or input with a value that the operator's specification forbids.
    #[error("{0}")]
    Invalid(String),
    /// Valid ONNX that dlbc does not support.
    #[error("{0}")]
    Unsupported(String),
    /// A size beyond a limit.
    #[error("{0}")]
    Limit(String),
}

impl OpError {
    /// A mismatch of something printable.
    pub fn mismatch(what: &str, expected: impl ToString, found: impl ToString) -> OpError {
        OpError::Mismatch { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }
}
