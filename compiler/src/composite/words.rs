//! Words that keys of a composite take.

/// The value of a word; that of the first when there is none.
pub(super) fn choice<T: Copy>(word: Option<String>, what: &str, known: &[(&str, T)]) -> Result<T, String> {
    let Some(word) = word else { return Ok(known[0].1) };
    let value = known.iter().find(|(name, _)| *name == word).map(|(_, v)| *v);
    value.ok_or_else(|| format!("{what} is one of {}, found `{word}`", names(known.iter().map(|k| k.0))))
}

/// Words for a message.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
