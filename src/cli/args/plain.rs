//! Errors of the argument parser in plain words: the messages of Rust's number types do not help a user.

use std::error::Error as _;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Replaces the message of Rust's number parsers in an error by the kind of number that is expected.
pub fn plain(error: Error) -> Error {
    let (Some(words), ErrorKind::ValueValidation) = (words(&error), error.kind()) else { return error };
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (flag, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let message =
        format!("invalid value '{value}' for '{flag}': {words}\n\nFor more information, try '--help'.\n");
    Error::raw(error.kind(), message)
}

/// Returns the expectation of the number type that refused a value; `None` for any other error.
fn words(error: &Error) -> Option<&'static str> {
    let source = error.source()?;
    if source.is::<ParseFloatError>() {
        return Some("expected a number");
    }
    let negative = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => {
            value.strip_prefix('-').is_some_and(|n| n.parse::<u64>().is_ok())
        }
        _ => false,
    };
    Some(match source.downcast_ref::<ParseIntError>()?.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "expected a smaller number",
        _ if negative => "expected a whole number from 0 on",
        _ => "expected a whole number",
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::Args;

    fn refused(words: &[&str]) -> String {
        plain(Args::try_parse_from([&["dlbc"], words].concat()).unwrap_err()).to_string()
    }

    #[test]
    fn numbers_are_refused_in_plain_words() {
        for (words, expected) in [
            (&["diff", "a", "b", "--top", "many"][..], "'many' for '--top <K>': expected a whole number\n"),
            (&["diff", "a", "b", "--top=-1"], "'-1' for '--top <K>': expected a whole number from 0 on\n"),
            (&["diff", "a", "b", "--min-rank", "high"], "'high' for '--min-rank <R>': expected a number\n"),
            (&["inspect", "m", "--max-nodes", "99999999999999999999999"], "expected a smaller number\n"),
        ] {
            let error = refused(words);
            assert!(error.starts_with("error: invalid value ") && error.contains(expected), "{error}");
            assert!(error.contains("--help"), "{error}");
        }
    }

    /// No flag of any command answers a wrong value with the words of Rust's parsers.
    #[test]
    fn no_flag_speaks_the_language_of_rust() {
        let command = Args::command();
        for sub in command.get_subcommands() {
            let positional = sub.get_positionals().filter(|a| a.is_required_set()).map(|_| "x");
            let base: Vec<&str> = [sub.get_name()].into_iter().chain(positional).collect();
            for argument in sub.get_arguments().filter(|a| a.get_action().takes_values()) {
                let Some(long) = argument.get_long() else { continue };
                for value in ["?", "-?", "1e", "99999999999999999999999999"] {
                    let flag = format!("--{long}={value}");
                    let words = [base.clone(), vec![flag.as_str()]].concat();
                    let Err(error) = Args::try_parse_from([&["dlbc"], &words[..]].concat()) else { continue };
                    let error = plain(error).to_string();
                    for leak in ["invalid digit", "float literal", "in string", "target type", "empty string"]
                    {
                        assert!(!error.contains(leak), "{words:?}: {error}");
                    }
                }
            }
        }
    }
}
