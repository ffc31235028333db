//! Kinds of errors, by what a caller can do about them.

/// What a caller can do about an error; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The model is wrong.
    Invalid,
    /// The model costs more than the [`Limits`](crate::Limits) allow.
    Limit,
    /// The model is right, but uses a feature that cannot be read.
    Unsupported,
    /// The operating system refused.
    Io,
}
