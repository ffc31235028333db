//! Error type of the library: opaque, with a kind, its causes and an optional hint.

use std::error::Error as StdError;
use std::fmt;

use dlbc_artifact::ArtifactError;
use dlbc_compiler::CompileError;
use dlbc_proto::ProtoError;
use dlbc_runtime::RuntimeError;

use crate::nearest::did_you_mean;
use crate::remedy::Remedy;

/// A result of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cause of an error, by who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call asks for something that does not exist or does not fit together.
    Usage,
    /// An input, a table, a picture, a text or another data file is invalid.
    InvalidInput,
    /// The model or artifact is invalid or cannot be read.
    InvalidModel,
    /// An operator, a rule, an option or a format is not supported.
    Unsupported,
    /// Something is larger than a limit allows.
    Limit,
    /// The device does not exist or ran out of memory.
    Device,
    /// A file could not be written, or the operating system failed otherwise.
    Io,
    /// The caller cancelled the run.
    Cancelled,
    /// A bug in dlbc.
    Internal,
}

/// Error with a message, a kind, its causes and an optional hint.
///
/// `Display` gives the message of this error alone; [`Error::describe`] joins those of all causes. Messages name what is
/// wrong, what was expected and what was found.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    hint: Option<String>,
    remedy: Option<Remedy>,
    content: Content,
}

enum Content {
    /// Message of the library.
    Message(String),
    /// Error of another crate.
    Wrapped(Box<dyn StdError + Send + Sync>),
    /// Context, such as a file or an activity, before the error that happened there.
    Context(String, Error),
}

impl Error {
    fn new(kind: ErrorKind, content: Content) -> Error {
        Error(Box::new(Inner { kind, hint: None, remedy: None, content }))
    }

    fn message(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, Content::Message(message.into()))
    }

    fn wrapped(kind: ErrorKind, error: impl StdError + Send + Sync + 'static) -> Error {
        Error::new(kind, Content::Wrapped(Box::new(error)))
    }

    /// Creates an error of kind [`ErrorKind::Usage`].
    pub fn usage(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::Usage, message)
    }

    /// Creates an error of kind [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::InvalidInput, message)
    }

    /// Creates an error of kind [`ErrorKind::InvalidModel`].
    pub fn invalid_model(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::InvalidModel, message)
    }

    /// Creates an error of kind [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::Unsupported, message)
    }

    /// Creates an error of kind [`ErrorKind::Limit`].
    pub fn limit(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::Limit, message)
    }

    /// Creates an error of kind [`ErrorKind::Device`].
    pub fn device(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::Device, message)
    }

    /// Creates an error of kind [`ErrorKind::Io`].
    pub fn io(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::Io, message)
    }

    /// Creates an error of kind [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Error {
        Error::message(ErrorKind::Internal, message)
    }

    /// Creates the error for a name that is not among `known`; its hint lists the most similar names.
    pub fn unknown<'a>(
        message: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        Error::usage(message).with_hint(did_you_mean(name, known))
    }

    /// Sets the hint; `None` leaves the error without one.
    #[must_use]
    pub fn with_hint(mut self, hint: Option<String>) -> Error {
        self.0.hint = hint;
        self
    }

    /// Sets the setting of the call that mends the error.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Error {
        self.0.remedy = Some(remedy);
        self
    }

    /// Puts a place or an activity before the error.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Error {
        let kind = self.0.kind;
        Error::new(kind, Content::Context(context.into(), self))
    }

    /// Returns who can mend the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns advice on the error: that of the outermost cause that has some.
    pub fn hint(&self) -> Option<String> {
        if let Some(hint) = &self.0.hint {
            return Some(hint.clone());
        }
        match &self.0.content {
            Content::Message(_) => None,
            Content::Context(_, error) => error.hint(),
            Content::Wrapped(error) => wrapped_hint(error.as_ref()),
        }
    }

    /// Returns the setting of the call that mends the error: that of the outermost cause that has one.
    pub fn remedy(&self) -> Option<Remedy> {
        if let Some(remedy) = &self.0.remedy {
            return Some(remedy.clone());
        }
        match &self.0.content {
            Content::Message(_) => None,
            Content::Context(_, error) => error.remedy(),
            Content::Wrapped(error) => wrapped_remedy(error.as_ref()),
        }
    }

    /// Returns the messages of the error and its causes in one line; a cause that the text before it repeats is left out.
    pub fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !text.ends_with(&message) {
                text = format!("{text}: {message}");
            }
            cause = error.source();
        }
        text
    }

    /// Returns the error of a crate below that this one stands for, such as a [`RuntimeError`].
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.0.content {
            Content::Message(_) => None,
            Content::Context(_, error) => error.downcast_ref(),
            Content::Wrapped(error) => error.downcast_ref(),
        }
    }
}

/// Suggestions for a name that a crate below does not know.
fn wrapped_hint(error: &(dyn StdError + Send + Sync + 'static)) -> Option<String> {
    if let Some(CompileError::UnknownComposite { name, known }) = error.downcast_ref() {
        return did_you_mean(name, known.iter().copied());
    }
    if let Some(CompileError::InvalidComposite { unknown: Some(unknown), .. }) = error.downcast_ref() {
        return did_you_mean(&unknown.word, unknown.known.iter().map(String::as_str));
    }
    if let Some(CompileError::UnknownName { name, known, .. }) = error.downcast_ref() {
        return did_you_mean(name, known.iter().map(String::as_str));
    }
    if let Some(
        RuntimeError::UnknownRelevance { name, known }
        | RuntimeError::UnknownInput { name, known }
        | RuntimeError::UnknownOutput { name, known },
    ) = error.downcast_ref()
    {
        return did_you_mean(name, known.iter().map(String::as_str));
    }
    None
}

/// Setting that mends an error of a crate below.
fn wrapped_remedy(error: &(dyn StdError + Send + Sync + 'static)) -> Option<Remedy> {
    let compile = || error.downcast_ref().and_then(Remedy::of_compile);
    let run = || error.downcast_ref().and_then(Remedy::of_run);
    let proto = || error.downcast_ref().and_then(Remedy::of_proto);
    compile().or_else(run).or_else(proto)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.content {
            Content::Message(message) | Content::Context(message, _) => f.write_str(message),
            Content::Wrapped(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.describe())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.content {
            Content::Message(_) => None,
            Content::Context(_, error) => Some(error),
            Content::Wrapped(error) => error.source(),
        }
    }
}

impl From<&CompileError> for ErrorKind {
    fn from(error: &CompileError) -> ErrorKind {
        use dlbc_compiler::ErrorKind as Kind;
        match error.kind() {
            Kind::Usage => ErrorKind::Usage,
            Kind::Invalid => ErrorKind::InvalidModel,
            Kind::Unsupported => ErrorKind::Unsupported,
            Kind::Limit => ErrorKind::Limit,
            Kind::Internal => ErrorKind::Internal,
        }
    }
}

impl From<&RuntimeError> for ErrorKind {
    fn from(error: &RuntimeError) -> ErrorKind {
        use dlbc_runtime::ErrorKind as Kind;
        match error.kind() {
            Kind::Usage => ErrorKind::Usage,
            Kind::InvalidInput => ErrorKind::InvalidInput,
            Kind::Device => ErrorKind::Device,
            Kind::Unsupported => ErrorKind::Unsupported,
            Kind::Limit => ErrorKind::Limit,
            Kind::Cancelled => ErrorKind::Cancelled,
            Kind::Internal => ErrorKind::Internal,
        }
    }
}

impl From<&ProtoError> for ErrorKind {
    fn from(error: &ProtoError) -> ErrorKind {
        use dlbc_proto::ErrorKind as Kind;
        match error.kind() {
            Kind::Invalid => ErrorKind::InvalidModel,
            Kind::Limit => ErrorKind::Limit,
            Kind::Unsupported => ErrorKind::Unsupported,
            // A file that cannot be written says nothing about the model.
            Kind::Io if matches!(error, ProtoError::Write { .. }) => ErrorKind::Io,
            Kind::Io => ErrorKind::InvalidModel,
        }
    }
}

/// Errors of the crates below, whose kind follows from their own.
macro_rules! below {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::wrapped((&error).into(), error)
            }
        }
    )*};
}

below!(CompileError, RuntimeError, ProtoError);

impl From<ArtifactError> for Error {
    fn from(error: ArtifactError) -> Error {
        match error {
            ArtifactError::Proto(error) => error.into(),
            ArtifactError::Seed { .. } => Error::unsupported(error.to_string()).with_remedy(Remedy::AllUnits),
            error if error.is_unsupported() => Error::unsupported(error.to_string()),
            error => Error::invalid_model(error.to_string()),
        }
    }
}

impl From<std::fmt::Error> for Error {
    fn from(error: std::fmt::Error) -> Error {
        Error::wrapped(ErrorKind::Internal, error)
    }
}

/// Errors of writing a file.
macro_rules! io {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Error {
                Error::wrapped(ErrorKind::Io, error)
            }
        }
    )*};
}

io!(std::io::Error);
#[cfg(feature = "npz")]
io!(zip::result::ZipError);
#[cfg(feature = "images")]
io!(image::ImageError);
#[cfg(feature = "table")]
io!(csv::Error);

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        let kind = if error.is_io() { ErrorKind::Io } else { ErrorKind::Internal };
        Error::wrapped(kind, error)
    }
}

/// Puts a place or an activity before an error, and makes an error of a value that should be there.
pub trait ResultExt<T> {
    /// Puts a text before the error.
    ///
    /// # Errors
    /// Adds context to an error; turns an option without a value into an [`ErrorKind::Internal`] with this text.
    fn context(self, context: impl Into<String>) -> Result<T>;

    /// Puts a text before the error; it is made only where there is an error.
    ///
    /// # Errors
    /// As [`ResultExt::context`].
    fn with_context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, context: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().context(context))
    }

    fn with_context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|error| error.into().context(context()))
    }
}

impl<T> ResultExt<T> for Option<T> {
    fn context(self, context: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| Error::internal(context))
    }

    fn with_context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.ok_or_else(|| Error::internal(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_kind_and_hint() {
        let failed: Result<()> = Err(Error::limit("too large").with_hint(Some("split it".into())));
        let error = failed.context("file `x.npy`").unwrap_err();
        assert_eq!((error.kind(), error.hint().as_deref()), (ErrorKind::Limit, Some("split it")));
        assert_eq!(error.to_string(), "file `x.npy`");
        assert_eq!(error.describe(), "file `x.npy`: too large");
    }

    #[test]
    fn a_repeated_cause_is_said_once() {
        let failed: std::result::Result<(), _> = Err(std::io::Error::other("disk full"));
        let error = failed.context("cannot write: disk full").unwrap_err();
        assert_eq!((error.describe().as_str(), error.kind()), ("cannot write: disk full", ErrorKind::Io));
    }

    #[test]
    fn errors_of_crates_below_are_found() {
        let error = RuntimeError::UnknownInput { name: "imput".into(), known: vec!["input".into()] };
        let error = Error::from(error).context("sample 3");
        assert!(error.downcast_ref::<RuntimeError>().is_some());
        assert_eq!(error.hint().as_deref(), Some("did you mean `input`?"));
    }
}
