//! Targets of an explanation: units, pixels or a box of the explained output.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::detector::BoxTarget;
use super::pixels::Pixels;

/// Elements of the explained output that carry the starting relevance.
///
/// # Examples
///
/// ```
/// use dlbc_runtime::Target;
///
/// assert_eq!("3-5".parse(), Ok(Target::Difference(3, 5)));
/// assert_eq!(Target::Index(-1).to_string(), "-1");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Target {
    /// Largest unit of each row; ties go to the lower index.
    #[default]
    Argmax,
    /// Unit of rank `k` in its row; 0 is the largest. Ties go to the lower index.
    Rank(usize),
    /// Unit with this index on the last axis; a negative index counts from the end.
    Index(i64),
    /// Difference of two units: the first minus the second.
    Difference(i64, i64),
    /// Every unit, with equal shares of the multiplier.
    All,
    /// Every element of a row above the threshold, at any position, with equal shares of the multiplier.
    Above(f64),
    /// Pixels of a segmentation, with equal shares of the multiplier.
    Pixels(Pixels),
    /// Box of a detection; [`Request::detector`](crate::Request::detector) names the outputs with the boxes.
    Box(BoxTarget),
}

/// Error for a text that [`Target::from_str`] cannot parse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid target `{text}`: expected argmax, all, an index such as 3 or -1, or a difference such as 3-5"
)]
pub struct ParseTargetError {
    text: String,
}

impl FromStr for Target {
    type Err = ParseTargetError;

    /// Parses `argmax`, `all`, an index such as `3` or `-1`, or a difference such as `3-5`.
    fn from_str(text: &str) -> Result<Target, ParseTargetError> {
        let index = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<i64>().ok()).flatten();
        let target = match text {
            "argmax" => Some(Target::Argmax),
            "all" => Some(Target::All),
            _ => match text.split_once('-') {
                None => index(text).map(Target::Index),
                Some(("", n)) => index(n).map(|n| Target::Index(-n)),
                Some((a, b)) => index(a).zip(index(b)).map(|(a, b)| Target::Difference(a, b)),
            },
        };
        target.ok_or_else(|| ParseTargetError { text: text.into() })
    }
}

/// Writes units as [`Target::from_str`] parses them, a rank as `top3`, pixels and boxes by their kind.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Argmax => f.write_str("argmax"),
            Target::Rank(rank) => write!(f, "top{}", rank + 1),
            Target::Index(n) => write!(f, "{n}"),
            Target::Difference(a, b) => write!(f, "{a}-{b}"),
            Target::All => f.write_str("all"),
            Target::Above(threshold) => write!(f, "above {threshold}"),
            Target::Pixels(_) => f.write_str("pixels"),
            Target::Box(_) => f.write_str("box"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_printed() {
        for (text, target) in [
            ("argmax", Target::Argmax),
            ("all", Target::All),
            ("0", Target::Index(0)),
            ("-3", Target::Index(-3)),
            ("3-5", Target::Difference(3, 5)),
        ] {
            assert_eq!(text.parse(), Ok(target));
            assert_eq!(target.to_string(), text);
        }
        for text in ["", "-", "3-", "--3", "3--5", "+3", "1.5", "99999999999999999999"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
