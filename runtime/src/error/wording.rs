//! Parts of messages.

use crate::request::Target;

/// Largest number of names that a message lists.
const LISTED: usize = 8;

/// Lists the first [`LISTED`] names in backquotes and counts the others.
pub fn names(known: &[String]) -> String {
    let shown: Vec<String> = known.iter().take(LISTED).map(|n| format!("`{n}`")).collect();
    match known.len().saturating_sub(LISTED) {
        0 if shown.is_empty() => "none".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Ends the message about an output whose box layouts are `readings`.
pub fn read_as(readings: &str) -> String {
    match readings {
        "" => "fits no box layout".into(),
        _ => format!("fits several box layouts: {readings}"),
    }
}

/// Formats the valid range of an index that may count from the end, for an axis of `count` elements.
pub fn range(count: usize) -> String {
    if count == 0 { "the axis is empty".into() } else { format!("expected -{count} to {}", count - 1) }
}

/// Formats the valid range of an index from 0 on, for an axis of `count` elements.
pub fn first(count: usize) -> String {
    if count == 0 { "the axis is empty".into() } else { format!("expected 0 to {}", count - 1) }
}

/// Lists targets, separated by commas.
pub fn targets(targets: &[Target]) -> String {
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Formats the value of a formula; `not a number` for a formula without one.
pub fn number(value: &Option<i64>) -> String {
    value.map_or_else(|| "not a number".into(), |v| v.to_string())
}

/// Returns two multiples of a factor near a size, such as "384 or 416"; neither is 0.
pub fn near(size: &i64, factor: &i64) -> String {
    let first = (size / factor * factor).max(*factor);
    format!("{first} or {}", first + factor)
}
