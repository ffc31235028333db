//! Targets as text: units by index, rank, difference or class name.

use std::str::FromStr;

use dlbc_runtime::{Region, Target};

use crate::classes::Classes;
use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::visible;

/// Targets of one run at most.
pub const MOST_TARGETS: usize = 1024;

/// A target and its name in results.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The target as it was written; `topK` is `top1`, `top2`, ….
    pub name: String,
    /// The target of the run.
    pub target: Target,
}

impl Named {
    /// Sets the region of a target of pixels, and where the classes stand.
    pub fn place(&mut self, within: Option<Region>, class_last: bool) {
        if let Target::Pixels(pixels) = &mut self.target {
            (pixels.region, pixels.class_last) = (within, class_last);
        }
    }
}

/// Targets as text, such as `argmax`, `3`, `-1`, `3-5`, `top5` or class names, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec(String);

impl FromStr for TargetSpec {
    type Err = Error;
    fn from_str(text: &str) -> Result<TargetSpec> {
        units(text, None)?;
        Ok(TargetSpec(text.into()))
    }
}

impl TargetSpec {
    /// Returns the targets, each once with its name; words may be names of these classes.
    ///
    /// # Errors
    /// For a word that is neither a target nor a class, and a target that is named twice.
    pub fn resolve(&self, classes: &Classes) -> Result<Vec<Named>> {
        units(&self.0, Some(classes))
    }
}

/// The targets that a text names, separated by commas, each once. Without `classes` (before the model is read) words that may
/// be class names are left out.
///
/// # Errors
/// For a word that is no target, and a target that is named twice.
pub fn units(text: &str, classes: Option<&Classes>) -> Result<Vec<Named>> {
    let none = Classes::default();
    let known = classes.unwrap_or(&none);
    let mut targets: Vec<Named> = vec![];
    let words: Vec<&str> = text.split(',').collect();
    let mut at = 0;
    while at < words.len() {
        // Names may have commas: the longest that is a class comes first.
        let joined = (at + 1..=words.len()).rev().map(|end| (words[at..end].join(","), end));
        let mut named = None;
        for (word, end) in joined.filter(|_| !known.is_empty()) {
            if let Some(unit) = class(&word, known)? {
                named = Some((word.trim().to_string(), Target::Index(unit), end));
                break;
            }
        }
        let (name, word_targets, end) = match named {
            Some((name, unit, end)) => (name, vec![unit], end),
            None => (words[at].to_string(), of_word(words[at], known, classes.is_some())?, at + 1),
        };
        at = end;
        let several = word_targets.len() > 1 || matches!(word_targets.first(), Some(Target::Rank(_)));
        for target in word_targets {
            let name = if several { target.to_string() } else { name.clone() };
            if targets.iter().any(|t| t.target == target) {
                return Err(Error::usage(format!("target `{}` is given twice", visible(&name))));
            }
            targets.push(Named { name, target });
        }
    }
    if targets.len() > MOST_TARGETS {
        return Err(Error::usage(format!(
            "too many targets: expected at most {MOST_TARGETS}, found {}",
            targets.len()
        )));
    }
    Ok(targets)
}

/// The class of a word, whole: not of a number, which is an index, nor of `all` and the like.
fn class(word: &str, classes: &Classes) -> Result<Option<i64>> {
    let word = word.trim();
    let reserved = word.parse::<i64>().is_ok() || matches!(word, "argmax" | "all" | "");
    if reserved { Ok(None) } else { classes.find(word) }
}

/// The targets of a word that is no class name; none for what may be one while names are not `known`.
fn of_word(word: &str, classes: &Classes, known: bool) -> Result<Vec<Target>> {
    if let Some(rank) = word.strip_prefix("top").and_then(|k| k.parse::<usize>().ok()) {
        return match rank {
            1..=MOST_TARGETS => Ok((0..rank).map(Target::Rank).collect()),
            _ => Err(Error::usage(format!("invalid target `{word}`: expected top1 to top{MOST_TARGETS}"))),
        };
    }
    if let Ok(target) = word.parse() {
        return Ok(vec![target]);
    }
    for (i, _) in word.match_indices('-') {
        let (first, second) = (&word[..i], &word[i + 1..]);
        let of = |word: &str| match word.trim().parse::<u32>() {
            Ok(unit) => Ok(Some(i64::from(unit))),
            Err(_) => class(word, classes),
        };
        if let (Some(a), Some(b)) = (of(first)?, of(second)?) {
            return Ok(vec![Target::Difference(a, b)]);
        }
    }
    if !known && word.chars().any(char::is_alphabetic) {
        return Ok(vec![]);
    }
    let expected = "argmax, all, an index such as 3 or -1, a difference such as 3-5, topK or a class name";
    let error = Error::usage(format!("invalid target `{}`: expected {expected}", visible(word)));
    Err(if known { advised(error, word, classes) } else { error })
}

/// The error of an unknown class, with the names most like it; without names with the setting for them.
fn advised(error: Error, word: &str, classes: &Classes) -> Error {
    match classes.is_empty() {
        true => error.with_remedy(Remedy::ClassNames),
        false => error.with_hint(Some(classes.advice(word))),
    }
}

/// The classes that words name, each by index or by name.
///
/// # Errors
/// For a word that is neither.
pub fn classes(words: &[String], classes: Option<&Classes>) -> Result<Vec<i64>> {
    let one = |word: &String| {
        if let Ok(index) = word.trim().parse() {
            return Ok(index);
        }
        let bad = || Error::usage(format!("invalid class `{}`: expected an index or a name", visible(word)));
        match classes {
            None if word.chars().any(char::is_alphabetic) => Ok(0),
            None => Err(bad()),
            Some(known) => class(word, known)?.ok_or_else(|| advised(bad(), word, known)),
        }
    };
    words.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::named;

    fn full(error: &Error) -> String {
        format!("{error} ({})", error.hint().unwrap_or_default())
    }

    fn seeds(text: &str, names: &[&str]) -> Result<Vec<Target>, String> {
        let targets = units(text, Some(&named(names))).map_err(|e| full(&e))?;
        Ok(targets.into_iter().map(|n| n.target).collect())
    }

    #[test]
    fn classes_are_targets() {
        let names = ["benign", "malignant"];
        assert_eq!(seeds("malignant", &names), Ok(vec![Target::Index(1)]));
        assert_eq!(seeds("malignant-benign", &names), Ok(vec![Target::Difference(1, 0)]));
        assert_eq!(seeds("1-benign", &names), Ok(vec![Target::Difference(1, 0)]));
        assert_eq!(
            seeds("Malignant,benign,argmax", &names),
            Ok(vec![Target::Index(1), Target::Index(0), Target::Argmax])
        );
        assert!(seeds("malignant,1", &names).unwrap_err().contains("twice"));
        let error = seeds("malignent", &names).unwrap_err();
        assert!(error.ends_with("(did you mean `malignant`?)"), "{error}");
        let nameless = units("malignant", Some(&named(&[]))).unwrap_err();
        assert_eq!(nameless.remedy(), Some(Remedy::ClassNames));
    }

    #[test]
    fn names_with_dashes_commas_and_digits() {
        let names = ["20-29", "30-39", "tabby, tabby cat", "top2", "5", "all"];
        assert_eq!(seeds("20-29", &names), Ok(vec![Target::Index(0)]));
        assert_eq!(seeds("20-29-30-39", &names), Ok(vec![Target::Difference(0, 1)]));
        assert_eq!(
            seeds("20-29,tabby, tabby cat,30-39", &names),
            Ok(vec![Target::Index(0), Target::Index(2), Target::Index(1)])
        );
        assert_eq!(seeds("top2", &names), Ok(vec![Target::Index(3)]));
        assert_eq!(seeds("1-0", &names), Ok(vec![Target::Difference(1, 0)]));
        // A number is an index, whatever the classes are called.
        assert_eq!(seeds("5", &names), Ok(vec![Target::Index(5)]));
        assert_eq!(seeds("all", &names), Ok(vec![Target::All]));
    }

    #[test]
    fn before_the_model_is_read_words_pass() {
        let early = |text: &str| units(text, None).map(|t| t.len());
        assert_eq!(early("malignant,3").unwrap(), 1);
        for text in ["3,3", "3,", ",", "top0", "top1025", "1-", "-", "3--5", "1.5"] {
            assert!(early(text).is_err(), "{text}");
        }
    }

    #[test]
    fn classes_of_scenes() {
        let people = named(&["dog", "person"]);
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(classes(&words(&["person", "0"]), Some(&people)).unwrap(), [1, 0]);
        let error = full(&classes(&words(&["cat"]), Some(&people)).unwrap_err());
        assert!(error.contains("`dog`, `person`"), "{error}");
        assert!(classes(&words(&["1.5"]), None).is_err());
        assert!(classes(&words(&["cat"]), None).is_ok());
    }
}
