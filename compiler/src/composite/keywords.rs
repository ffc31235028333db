//! Values of composite keys that are one of a few keywords.

/// Returns the value of a keyword among `known`; the first value if the key is absent.
///
/// # Errors
/// For an unknown keyword, with the known ones.
pub(super) fn parse_keyword<T: Copy>(
    word: Option<String>,
    key: &str,
    known: &[(&str, T)],
) -> Result<T, String> {
    let Some(word) = word else { return Ok(known[0].1) };
    let value = known.iter().find(|(name, _)| *name == word).map(|(_, v)| *v);
    value.ok_or_else(|| format!("{key} is one of {}, found `{word}`", quoted_list(known.iter().map(|k| k.0))))
}

/// Joins names for a message: `a`, `b`.
pub(super) fn quoted_list<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
