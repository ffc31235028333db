//! Errors of operators and primitives. They never name a node: whoever drives them adds it once.

use thiserror::Error;

use crate::tensor::{Dim, Shape};

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
    /// Dimensions that do not fit.
    #[error("{0}")]
    Unequal(Box<Unequal>),
    /// Two shapes do not broadcast.
    #[error("shapes {a} and {b} do not broadcast")]
    Broadcast {
        /// The first shape.
        a: String,
        /// The second shape.
        b: String,
        /// The dimensions that must be equal.
        dims: Box<[(Dim, Dim)]>,
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

    /// A mismatch of shapes.
    pub fn shapes(what: &str, expected: &Shape, found: &Shape) -> OpError {
        let dims = match expected.rank() == found.rank() {
            true => differing(&expected.0, &found.0),
            false => vec![],
        };
        OpError::Unequal(Box::new(Unequal {
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
            dims,
        }))
    }

    /// A mismatch of two dimensions.
    pub fn dims(what: &str, expected: &Dim, found: &Dim) -> OpError {
        OpError::Unequal(Box::new(Unequal {
            what: what.into(),
            expected: expected.to_string(),
            found: found.to_string(),
            dims: vec![(expected.clone(), found.clone())],
        }))
    }

    /// Two shapes that do not broadcast.
    pub fn broadcast(a: &Shape, b: &Shape) -> OpError {
        let common = a.rank().min(b.rank());
        let (from_a, from_b) = (&a.0[a.rank() - common..], &b.0[b.rank() - common..]);
        OpError::Broadcast { a: a.to_string(), b: b.to_string(), dims: differing(from_a, from_b).into() }
    }

    /// The pairs of dimensions that would have to be equal, when the error is about dimensions alone.
    pub fn unequal(&self) -> &[(Dim, Dim)] {
        match self {
            OpError::Unequal(unequal) => &unequal.dims,
            OpError::Broadcast { dims, .. } => dims,
            _ => &[],
        }
    }
}

/// Dimensions that would have to be equal.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what}: {expected} expected, found {found}")]
pub struct Unequal {
    /// Which property.
    pub what: String,
    /// The expected value.
    pub expected: String,
    /// The found value.
    pub found: String,
    /// The pairs that differ.
    pub dims: Vec<(Dim, Dim)>,
}

fn differing(a: &[Dim], b: &[Dim]) -> Vec<(Dim, Dim)> {
    let one = |d: &Dim| d.is(1);
    a.iter()
        .zip(b)
        .filter(|(a, b)| a != b && !one(a) && !one(b))
        .map(|(a, b)| (a.clone(), b.clone()))
        .collect()
}
