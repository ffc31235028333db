//! Mistakes in the file of a composite.

use crate::error::{CompileError, UnknownWord};

/// A mistake in an entry of a composite, before its line is known.
#[derive(Debug, PartialEq)]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) unknown: Option<UnknownWord>,
}

impl Mistake {
    /// A word that is not among `known`: `what` is the kind of thing that it names.
    pub(super) fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> Mistake {
        let known: Vec<String> = known.map(String::from).collect();
        let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("unknown {what} `{word}`: expected {}", quoted.join(", "));
        Mistake { message, unknown: Some(UnknownWord { word: word.into(), known }) }
    }

    /// A parameter that a rule does not have.
    pub(super) fn parameter(rule: &str, word: &str, known: &[&str]) -> Mistake {
        let unknown = Mistake::unknown("parameter", word, known.iter().copied());
        let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        let expected = if quoted.is_empty() { "none".into() } else { quoted.join(", ") };
        Mistake {
            message: format!("rule `{rule}` has no parameter `{word}`: expected {expected}"),
            ..unknown
        }
    }

    /// The error of the mistake at a file and line.
    pub(super) fn at(self, place: String) -> CompileError {
        CompileError::InvalidComposite { place, message: self.message, unknown: self.unknown }
    }
}

impl<T: Into<String>> From<T> for Mistake {
    fn from(message: T) -> Mistake {
        Mistake { message: message.into(), unknown: None }
    }
}
