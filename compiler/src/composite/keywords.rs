//! Values of composite keys that are one of a few keywords.

use super::mistake::Mistake;

/// Returns the value of a keyword among `known`; the first value if the key is absent.
///
/// # Errors
/// For an unknown keyword, with the known ones.
pub(super) fn parse_keyword<T: Copy>(
    word: Option<String>,
    key: &str,
    known: &[(&str, T)],
) -> Result<T, Mistake> {
    let Some(word) = word else { return Ok(known[0].1) };
    let value = known.iter().find(|(name, _)| *name == word).map(|(_, v)| *v);
    value.ok_or_else(|| Mistake::unknown(key, &word, known.iter().map(|k| k.0)))
}
