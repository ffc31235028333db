//! Kinds of errors, by what a caller can do about them.

/// Kind of an error, by what a caller can do about it. Determines the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The model is invalid.
    Invalid,
    /// The model exceeds the [`Limits`](crate::Limits).
    Limit,
    /// The model is valid but uses a feature that is not supported.
    Unsupported,
    /// The operating system reported an error.
    Io,
}
