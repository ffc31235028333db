//! Errors of operators and primitives. They do not name the node; the caller adds its name.

use thiserror::Error;

use crate::tensor::{Dim, Shape};

#[cfg(test)]
mod tests;

/// Error of an operator or primitive that cannot be read, typed or built.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpError {
    /// The number of inputs is wrong.
    #[error("expected {expected} inputs, found {actual}")]
    Arity {
        /// Number of inputs that the operator accepts, such as `3` or `at least 2`.
        expected: String,
        /// Number of inputs that it has.
        actual: usize,
    },
    /// A property of an input or attribute is wrong.
    #[error("{property}: expected {expected}, found {actual}")]
    Mismatch {
        /// Name of the property.
        property: String,
        /// Text of the expected value.
        expected: String,
        /// Text of the actual value.
        actual: String,
    },
    /// Dimensions that must be equal differ.
    #[error("{0}")]
    Unequal(Box<Unequal>),
    /// Two shapes do not broadcast.
    #[error("shapes {a} and {b} do not broadcast: expected dimensions that are equal or 1")]
    Broadcast {
        /// The first shape.
        a: String,
        /// The second shape.
        b: String,
        /// Pairs of dimensions that would have to be equal.
        dims: Box<[(Dim, Dim)]>,
    },
    /// An axis is out of range.
    #[error("axis {axis} is out of range for rank {rank}: expected {}", axes(*.rank))]
    Axis {
        /// Axis as the model has it, which may be negative.
        axis: i64,
        /// Rank of the tensor; valid axes are `-rank..rank`.
        rank: usize,
    },
    /// An attribute or input has a value that the operator's specification forbids.
    #[error("{0}")]
    Invalid(String),
    /// The node is valid ONNX but not supported by dlbc.
    #[error("{0}")]
    Unsupported(String),
    /// The node is valid ONNX that dlbc supports for known dimensions only, and has a symbolic one.
    #[error("{0}")]
    Symbolic(String),
    /// A size exceeds a limit.
    #[error("{0}")]
    Limit(String),
    /// A tensor exceeds the limit on the bytes of one.
    #[error("{what} takes {bytes} bytes: the limit is {limit}")]
    TensorBytes {
        /// Name and type of the tensor.
        what: String,
        /// Size in bytes.
        bytes: u64,
        /// Largest size allowed, in bytes.
        limit: u64,
    },
}

impl OpError {
    /// Creates [`OpError::Mismatch`] for the property of this name.
    pub fn mismatch(property: &str, expected: impl ToString, actual: impl ToString) -> OpError {
        OpError::Mismatch {
            property: property.into(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }
    }

    /// Creates [`OpError::Invalid`] for an attribute that the node must have.
    pub fn missing_attribute(name: &str, expected: &str) -> OpError {
        OpError::invalid(&format!("attribute `{name}`"), expected, "none")
    }

    /// Creates [`OpError::Unsupported`] for a property of a valid node.
    pub fn unsupported(property: &str, expected: impl ToString, actual: impl ToString) -> OpError {
        OpError::Unsupported(OpError::mismatch(property, expected, actual).to_string())
    }

    /// Creates [`OpError::Unsupported`] for an optional output that dlbc does not compute.
    pub fn unsupported_output(name: &str) -> OpError {
        OpError::unsupported(&format!("optional output `{name}`"), "none", "one")
    }

    /// Creates [`OpError::Invalid`] for the property of this name. A branch of an `If` that fails by it is invalid, too;
    /// one that fails by a [`OpError::Mismatch`] may be for inputs of other shapes.
    pub fn invalid(property: &str, expected: impl ToString, actual: impl ToString) -> OpError {
        OpError::Invalid(OpError::mismatch(property, expected, actual).to_string())
    }

    /// Creates [`OpError::Invalid`] for a fault that a sentence names best, such as a division by 0.
    pub fn fault(sentence: impl ToString, expected: impl ToString) -> OpError {
        OpError::Invalid(format!("{}: expected {}", sentence.to_string(), expected.to_string()))
    }

    /// Creates [`OpError::Invalid`] for an error within a step of a scan.
    pub(crate) fn in_step(step: usize, error: &dyn std::fmt::Display) -> OpError {
        OpError::Invalid(format!("step {step}, {error}"))
    }

    /// Creates [`OpError::Symbolic`] for a property that must not depend on a symbolic dimension.
    pub fn symbolic(property: &str, expected: impl ToString, actual: impl ToString) -> OpError {
        OpError::Symbolic(OpError::mismatch(property, expected, actual).to_string())
    }

    /// Creates [`OpError::Unequal`] for two shapes.
    pub fn shapes(property: &str, expected: &Shape, actual: &Shape) -> OpError {
        let dims = match expected.rank() == actual.rank() {
            true => differing(&expected.0, &actual.0),
            false => vec![],
        };
        OpError::Unequal(Box::new(Unequal {
            property: property.into(),
            expected: expected.to_string(),
            actual: actual.to_string(),
            dims,
        }))
    }

    /// Creates [`OpError::Unequal`] for two dimensions.
    pub fn dims(property: &str, expected: &Dim, actual: &Dim) -> OpError {
        OpError::Unequal(Box::new(Unequal {
            property: property.into(),
            expected: expected.to_string(),
            actual: actual.to_string(),
            dims: vec![(expected.clone(), actual.clone())],
        }))
    }

    /// Creates [`OpError::Broadcast`] for two shapes.
    pub fn broadcast(a: &Shape, b: &Shape) -> OpError {
        let common = a.rank().min(b.rank());
        let (from_a, from_b) = (&a.0[a.rank() - common..], &b.0[b.rank() - common..]);
        OpError::Broadcast { a: a.to_string(), b: b.to_string(), dims: differing(from_a, from_b).into() }
    }

    /// Returns the pairs of dimensions that would have to be equal if the error is about dimensions alone, otherwise
    /// nothing.
    pub fn unequal(&self) -> &[(Dim, Dim)] {
        match self {
            OpError::Unequal(unequal) => &unequal.dims,
            OpError::Broadcast { dims, .. } => dims,
            _ => &[],
        }
    }
}

/// Dimensions that differ but must be equal.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{property}: expected {expected}, found {actual}")]
pub struct Unequal {
    /// Name of the property.
    pub property: String,
    /// Text of the expected shape or dimension.
    pub expected: String,
    /// Text of the actual shape or dimension.
    pub actual: String,
    /// Pairs of dimensions that differ: expected, actual.
    pub dims: Vec<(Dim, Dim)>,
}

/// Returns the range of axes of a tensor.
fn axes(rank: usize) -> String {
    match rank {
        0 => "a tensor with axes".into(),
        rank => format!("-{rank} to {}", rank - 1),
    }
}

/// Returns the pairs of dimensions that differ, without those that broadcast because one of them is 1.
fn differing(a: &[Dim], b: &[Dim]) -> Vec<(Dim, Dim)> {
    let broadcasts = |d: &Dim| d.is(1);
    a.iter()
        .zip(b)
        .filter(|(a, b)| a != b && !broadcasts(a) && !broadcasts(b))
        .map(|(a, b)| (a.clone(), b.clone()))
        .collect()
}
