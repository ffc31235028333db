//! Parser of targets: units by index, rank, difference or class name.

use std::str::FromStr;

use dlbc_runtime::{Region, Target};

use crate::classes::Classes;
use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::visible;

/// Largest number of targets of a run.
pub const MAX_TARGETS: usize = 1024;

/// A target with its name in results.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTarget {
    /// Name as the user wrote it; `topK` becomes `top1`, `top2` and so on.
    pub name: String,
    /// Target of the run.
    pub target: Target,
}

impl NamedTarget {
    /// Sets the region and the position of the class axis of a target of pixels. Other targets stay as they are.
    pub fn set_mask(&mut self, region: Option<Region>, class_last: bool) {
        if let Target::Pixels(pixels) = &mut self.target {
            (pixels.region, pixels.class_last) = (region, class_last);
        }
    }
}

/// A list of targets as text: `argmax`, `all`, `3`, `-1`, `3-5`, `top5` or class names, separated by commas.
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
    /// Returns the targets with their names. Words may be names of `classes`.
    ///
    /// # Errors
    /// When a word is neither a target nor a class, or a target occurs twice.
    pub fn resolve(&self, classes: &Classes) -> Result<Vec<NamedTarget>> {
        units(&self.0, Some(classes))
    }
}

/// Parses a list of targets. Without `classes` (before the model is read) words that may be class names are skipped.
///
/// # Errors
/// When a word is not a target, or a target occurs twice.
pub fn units(text: &str, classes: Option<&Classes>) -> Result<Vec<NamedTarget>> {
    let none = Classes::default();
    let known = classes.unwrap_or(&none);
    let mut targets: Vec<NamedTarget> = vec![];
    let words: Vec<&str> = text.split(',').collect();
    let mut at = 0;
    while at < words.len() {
        // Names may contain commas: the longest match is tried first.
        let joined = (at + 1..=words.len()).rev().map(|end| (words[at..end].join(","), end));
        let mut class_match = None;
        for (word, end) in joined.filter(|_| !known.is_empty()) {
            if let Some(unit) = class(&word, known)? {
                class_match = Some((word.trim().to_string(), Target::Index(unit), end));
                break;
            }
        }
        let (name, word_targets, end) = match class_match {
            Some((name, unit, end)) => (name, vec![unit], end),
            None => (words[at].to_string(), word_targets(words[at], known, classes.is_some())?, at + 1),
        };
        at = end;
        let several = word_targets.len() > 1 || matches!(word_targets.first(), Some(Target::Rank(_)));
        for target in word_targets {
            let name = if several { target.to_string() } else { name.clone() };
            if targets.iter().any(|t| t.target == target) {
                return Err(Error::usage(format!("target `{}` is given twice", visible(&name))));
            }
            targets.push(NamedTarget { name, target });
        }
    }
    if targets.len() > MAX_TARGETS {
        return Err(Error::usage(format!(
            "too many targets: expected at most {MAX_TARGETS}, found {}",
            targets.len()
        )));
    }
    Ok(targets)
}

/// Returns the class of a word; `None` for a number, which is an index, and for `argmax` and `all`.
fn class(word: &str, classes: &Classes) -> Result<Option<i64>> {
    let word = word.trim();
    let reserved = word.parse::<i64>().is_ok() || matches!(word, "argmax" | "all" | "");
    if reserved { Ok(None) } else { classes.find(word) }
}

/// Returns the targets of a word that is not a class name; none for a word that may be one while `known` is false, before the
/// names are read.
fn word_targets(word: &str, classes: &Classes, known: bool) -> Result<Vec<Target>> {
    if let Some(rank) = word.strip_prefix("top").and_then(|k| k.parse::<usize>().ok()) {
        return match rank {
            1..=MAX_TARGETS => Ok((0..rank).map(Target::Rank).collect()),
            _ => Err(Error::usage(format!("invalid target `{word}`: expected top1 to top{MAX_TARGETS}"))),
        };
    }
    if let Ok(target) = word.parse() {
        return Ok(vec![target]);
    }
    for (i, _) in word.match_indices('-') {
        let (first, second) = (&word[..i], &word[i + 1..]);
        let unit = |word: &str| match word.trim().parse::<u32>() {
            Ok(unit) => Ok(Some(i64::from(unit))),
            Err(_) => class(word, classes),
        };
        if let (Some(a), Some(b)) = (unit(first)?, unit(second)?) {
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

/// Adds help to the error for an unknown class: the most similar names, or the setting for class names when there are
/// none.
fn advised(error: Error, word: &str, classes: &Classes) -> Error {
    match classes.is_empty() {
        true => error.with_remedy(Remedy::ClassNames),
        false => error.with_hint(Some(classes.advice(word))),
    }
}

/// Parses classes by index or name. Without `classes` (before the model is read) every name is class 0.
///
/// # Errors
/// When a word is neither an index nor a name.
pub fn classes(words: &[String], classes: Option<&Classes>) -> Result<Vec<i64>> {
    let parse = |word: &String| {
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
    words.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::named;

    /// The message of an error with its help in parentheses.
    fn full(error: &Error) -> String {
        format!("{error} ({})", error.hint().unwrap_or_default())
    }

    /// The targets of a text for a model with these class names.
    fn targets(text: &str, names: &[&str]) -> Result<Vec<Target>, String> {
        let targets = units(text, Some(&named(names))).map_err(|e| full(&e))?;
        Ok(targets.into_iter().map(|n| n.target).collect())
    }

    #[test]
    fn classes_are_targets() {
        let names = ["benign", "malignant"];
        assert_eq!(targets("malignant", &names), Ok(vec![Target::Index(1)]));
        assert_eq!(targets("malignant-benign", &names), Ok(vec![Target::Difference(1, 0)]));
        assert_eq!(targets("1-benign", &names), Ok(vec![Target::Difference(1, 0)]));
        assert_eq!(
            targets("Malignant,benign,argmax", &names),
            Ok(vec![Target::Index(1), Target::Index(0), Target::Argmax])
        );
        assert!(targets("malignant,1", &names).unwrap_err().contains("twice"));
        let error = targets("malignent", &names).unwrap_err();
        assert!(error.ends_with("(did you mean `malignant`?)"), "{error}");
        let nameless = units("malignant", Some(&named(&[]))).unwrap_err();
        assert_eq!(nameless.remedy(), Some(Remedy::ClassNames));
    }

    #[test]
    fn names_with_dashes_commas_and_digits() {
        let names = ["20-29", "30-39", "tabby, tabby cat", "top2", "5", "all"];
        assert_eq!(targets("20-29", &names), Ok(vec![Target::Index(0)]));
        assert_eq!(targets("20-29-30-39", &names), Ok(vec![Target::Difference(0, 1)]));
        assert_eq!(
            targets("20-29,tabby, tabby cat,30-39", &names),
            Ok(vec![Target::Index(0), Target::Index(2), Target::Index(1)])
        );
        assert_eq!(targets("top2", &names), Ok(vec![Target::Index(3)]));
        assert_eq!(targets("1-0", &names), Ok(vec![Target::Difference(1, 0)]));
        // A number is an index even if a class has that name.
        assert_eq!(targets("5", &names), Ok(vec![Target::Index(5)]));
        assert_eq!(targets("all", &names), Ok(vec![Target::All]));
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
