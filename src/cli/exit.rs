//! Exit codes: which error ends the program with which number.

use std::fmt;

use anyhow::Error;
use dlbc_compiler::CompileError;
use dlbc_runtime::RuntimeError;

use crate::nearest::did_you_mean;

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

/// An error of the program itself, with its code.
#[derive(Debug)]
pub struct Failure {
    /// The code.
    pub code: Code,
    /// The message.
    pub message: String,
    /// Advice for the `help:` line after the message.
    pub help: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error with a code.
pub fn failure(code: Code, message: impl Into<String>) -> Error {
    helped(code, message, None)
}

/// An error with a code and, where there is any, advice.
pub fn helped(code: Code, message: impl Into<String>, help: Option<String>) -> Error {
    Error::new(Failure { code, message: message.into(), help })
}

/// The error of a name that the command line gives and that is not among `known`: advice are the names most like it.
pub fn unknown<'a>(
    message: impl Into<String>,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Error {
    helped(Code::Usage, message, did_you_mean(name, known))
}

/// Wrong arguments.
pub fn usage(message: impl Into<String>) -> Error {
    failure(Code::Usage, message)
}

/// An invalid model or input.
pub fn invalid(message: impl Into<String>) -> Error {
    failure(Code::Invalid, message)
}

/// Something that dlbc cannot do (yet).
pub fn unsupported(message: impl Into<String>) -> Error {
    failure(Code::Unsupported, message)
}

/// Something above a limit.
pub fn limit(message: impl Into<String>) -> Error {
    failure(Code::Limit, message)
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
    if let Some(error) = cause.downcast_ref::<CompileError>() {
        use dlbc_compiler::ErrorKind::{Internal, Invalid, Limit, Unsupported, Usage};
        return Some(match error.kind() {
            Usage => Code::Usage.into(),
            Invalid => Code::Invalid.into(),
            Unsupported => Code::Unsupported.into(),
            Limit => Code::Limit.into(),
            Internal => Verdict { code: Code::Other, internal: true },
        });
    }
    if let Some(error) = cause.downcast_ref::<RuntimeError>() {
        use dlbc_runtime::ErrorKind::{Cancelled, Device, Internal, InvalidInput, Limit, Unsupported, Usage};
        return Some(match error.kind() {
            Usage => Code::Usage.into(),
            InvalidInput => Code::Invalid.into(),
            Device => Code::Device.into(),
            Unsupported => Code::Unsupported.into(),
            Limit => Code::Limit.into(),
            Cancelled => Code::Other.into(),
            Internal => Verdict { code: Code::Other, internal: true },
        });
    }
    if let Some(error) = cause.downcast_ref::<dlbc_proto::ProtoError>() {
        use dlbc_proto::ErrorKind::{Invalid, Io, Limit, Unsupported};
        return Some(match error.kind() {
            Invalid => Code::Invalid.into(),
            Limit => Code::Limit.into(),
            Unsupported => Code::Unsupported.into(),
            // A file that cannot be written says nothing about the model.
            Io if matches!(error, dlbc_proto::ProtoError::Write { .. }) => Code::Other.into(),
            Io => Code::Invalid.into(),
        });
    }
    None
}

/// The advice on an error: that of the outermost cause that has some. Library errors name no flag, so theirs is here.
pub fn help(error: &Error) -> Option<String> {
    error.chain().find_map(advice)
}

fn advice(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return failure.help.clone();
    }
    if let Some(error) = cause.downcast_ref::<CompileError>() {
        return match error {
            CompileError::UnknownRules { name, known } => {
                Some(did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
                    "`dlbc rules` lists the composites; a file of your own ends in .toml".into()
                }))
            }
            CompileError::UnknownName { name, known, .. } => {
                did_you_mean(name, known.iter().map(String::as_str))
            }
            _ => None,
        };
    }
    match cause.downcast_ref::<RuntimeError>()? {
        RuntimeError::UnknownRelevance { name, known }
        | RuntimeError::UnknownInput { name, known }
        | RuntimeError::UnknownOutput { name, known } => did_you_mean(name, known.iter().map(String::as_str)),
        _ => None,
    }
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
        let error = Err::<(), _>(limit("too large")).context("file `x.npy`").unwrap_err();
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
