//! Exit codes of the program's errors.

use std::fmt;

use anyhow::Error;
use dlbc_compiler::CompileError;
use dlbc_proto::ProtoError;
use dlbc_runtime::RuntimeError;

use crate::cli::advice::advice;
use dlbc::error::ErrorKind;
use dlbc::remedy::Remedy;

/// Exit code of a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Any error without a more specific code.
    Other = 1,
    /// Invalid arguments.
    Usage = 2,
    /// Invalid model or input.
    Invalid = 3,
    /// Unsupported operator, rule or option.
    Unsupported = 4,
    /// Device that is missing or out of memory.
    Device = 5,
    /// Missed bound, such as `--min-rank`.
    Gate = 6,
    /// Exceeded limit, such as `--max-nodes`.
    Limit = 7,
}

/// Error of the program itself, with its exit code; errors of the library have a kind instead.
#[derive(Debug)]
struct Failure {
    code: Code,
    message: String,
    help: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Creates an error with an exit code.
pub fn failure(code: Code, message: impl Into<String>) -> Error {
    Error::new(Failure { code, message: message.into(), help: None })
}

/// Creates an error with an exit code and a line of help.
pub fn advised(code: Code, message: impl Into<String>, help: impl Into<String>) -> Error {
    Error::new(Failure { code, message: message.into(), help: Some(help.into()) })
}

/// Creates an error about invalid arguments.
pub fn usage(message: impl Into<String>) -> Error {
    dlbc::error::Error::usage(message).into()
}

/// Creates an error about an unsupported operation.
pub fn unsupported(message: impl Into<String>) -> Error {
    dlbc::error::Error::unsupported(message).into()
}

/// Classification of an error that ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Exit code.
    pub code: Code,
    /// True if the error is a bug in dlbc.
    pub internal: bool,
}

impl From<Code> for Verdict {
    fn from(code: Code) -> Verdict {
        Verdict { code, internal: false }
    }
}

/// Classifies an error by its outermost cause that has a classification.
pub fn verdict(error: &Error) -> Verdict {
    error.chain().find_map(judge).unwrap_or(Verdict { code: Code::Other, internal: false })
}

fn judge(cause: &(dyn std::error::Error + 'static)) -> Option<Verdict> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.code.into());
    }
    Some(match kind(cause)? {
        ErrorKind::Usage => Code::Usage.into(),
        ErrorKind::InvalidInput | ErrorKind::InvalidModel => Code::Invalid.into(),
        ErrorKind::Unsupported => Code::Unsupported.into(),
        ErrorKind::Limit => Code::Limit.into(),
        ErrorKind::Device => Code::Device.into(),
        ErrorKind::Internal => Verdict { code: Code::Other, internal: true },
        // I/O, cancellation, and kinds that this program does not know.
        _ => Code::Other.into(),
    })
}

/// Returns the kind of an error of the library, or of a crate below it that a command calls directly.
fn kind(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let library = cause.downcast_ref::<dlbc::error::Error>().map(dlbc::error::Error::kind);
    let compiler = || cause.downcast_ref::<CompileError>().map(ErrorKind::from);
    let runtime = || cause.downcast_ref::<RuntimeError>().map(ErrorKind::from);
    library
        .or_else(compiler)
        .or_else(runtime)
        .or_else(|| cause.downcast_ref::<ProtoError>().map(ErrorKind::from))
}

/// Returns the line of help for an error, from its outermost cause that has one. Library errors do not name flags;
/// [`advice`] adds them.
pub fn help(error: &Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.help.clone();
        }
        if let Some(error) = cause.downcast_ref::<dlbc::error::Error>() {
            return error.hint().or_else(|| advice(&error.remedy()?));
        }
        let compile = || cause.downcast_ref().and_then(Remedy::of_compile);
        let run = || cause.downcast_ref().and_then(Remedy::of_run);
        let proto = || cause.downcast_ref().and_then(Remedy::of_proto);
        advice(&compile().or_else(run).or_else(proto)?)
    })
}

/// Formats the causes of an error in one line, without causes that repeat the end of the text before them.
pub fn describe(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn context_keeps_the_code() {
        let error = Err::<(), _>(dlbc::error::Error::limit("too large")).context("file `x.npy`").unwrap_err();
        assert_eq!(verdict(&error).code, Code::Limit);
        assert_eq!(describe(&error), "file `x.npy`: too large");
    }

    #[test]
    fn a_repeated_cause_is_said_once() {
        let error = Error::new(std::io::Error::other("disk full")).context("cannot write: disk full");
        assert_eq!(describe(&error), "cannot write: disk full");
        assert_eq!(verdict(&error).code, Code::Other);
    }
}
