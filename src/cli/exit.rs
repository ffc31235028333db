//! Exit codes: which error ends the program with which number.

use std::fmt;

use anyhow::Error;
use dlbc_compiler::CompileError;
use dlbc_proto::ProtoError;
use dlbc_runtime::RuntimeError;

use crate::cli::advice::advice;
use dlbc::error::ErrorKind;
use dlbc::remedy::Remedy;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Anything that has no code of its own.
    Other = 1,
    /// The arguments are wrong.
    Usage = 2,
    /// The model or an input is invalid.
    Invalid = 3,
    /// An operator, rule or option is not supported.
    Unsupported = 4,
    /// The device is not there or ran out of memory.
    Device = 5,
    /// A bound that the user set is missed.
    Gate = 6,
    /// A limit refused it.
    Limit = 7,
}

/// An error of the program itself, with its code; errors of the library have a kind.
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

/// An error with a code.
pub fn failure(code: Code, message: impl Into<String>) -> Error {
    Error::new(Failure { code, message: message.into(), help: None })
}

/// An error with a code and a line of advice.
pub fn advised(code: Code, message: impl Into<String>, help: impl Into<String>) -> Error {
    Error::new(Failure { code, message: message.into(), help: Some(help.into()) })
}

/// Wrong arguments.
pub fn usage(message: impl Into<String>) -> Error {
    dlbc::error::Error::usage(message).into()
}

/// Something that dlbc cannot do (yet).
pub fn unsupported(message: impl Into<String>) -> Error {
    dlbc::error::Error::unsupported(message).into()
}

/// What ends the program: a word before the message, and the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The code.
    pub code: Code,
    /// Whether it is a bug in dlbc.
    pub internal: bool,
}

impl From<Code> for Verdict {
    fn from(code: Code) -> Verdict {
        Verdict { code, internal: false }
    }
}

/// The verdict on an error: the outermost cause that has one decides.
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

/// The kind of an error of the library or of a crate below, which a command may call itself.
fn kind(cause: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let library = cause.downcast_ref::<dlbc::error::Error>().map(dlbc::error::Error::kind);
    let compiler = || cause.downcast_ref::<CompileError>().map(ErrorKind::from);
    let runtime = || cause.downcast_ref::<RuntimeError>().map(ErrorKind::from);
    library
        .or_else(compiler)
        .or_else(runtime)
        .or_else(|| cause.downcast_ref::<ProtoError>().map(ErrorKind::from))
}

/// The advice on an error: that of the outermost cause that has some. Library errors name no flag; [`advice`] does.
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

/// The causes of an error in one line; a cause that the text before it repeats is left out.
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
