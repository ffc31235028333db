//! Values of `--start`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use dlbc_runtime::SeedValue;

use super::words::Words;
use dlbc::nearest::suggested;

/// Starting relevance of `--start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A value for each target unit.
    Units(SeedValue),
    /// File with the starting relevance of each element of the output.
    File(PathBuf),
}

impl Start {
    /// Returns the value of each target unit; for a file, whose values count instead, the default.
    pub fn value(&self) -> SeedValue {
        match self {
            Start::Units(value) => *value,
            Start::File(_) => SeedValue::default(),
        }
    }

    /// Returns the file with the starting relevance of each element.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Start::Units(_) => None,
            Start::File(path) => Some(path),
        }
    }
}

/// Parses `one`, `value` or the name of a .npy file.
pub fn start(text: &str) -> Result<Start, String> {
    if let Some(word) = SeedValue::WORDS.iter().find(|word| word.name == text) {
        return Ok(Start::Units(word.value));
    }
    match Path::new(text).extension().and_then(OsStr::to_str).is_some_and(is_npy) {
        true => Ok(Start::File(text.into())),
        false => {
            let known = SeedValue::WORDS.iter().map(|word| word.name);
            Err(suggested("expected one, value or a .npy file", text, known))
        }
    }
}

fn is_npy(extension: &str) -> bool {
    extension.eq_ignore_ascii_case("npy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_files() {
        assert_eq!(start("value"), Ok(Start::Units(SeedValue::Value)));
        assert_eq!(start("one").map(|s| s.value()), Ok(SeedValue::One));
        assert_eq!(start("a/one.NPY"), Ok(Start::File("a/one.NPY".into())));
        for text in ["", "ones", "start.npz", ".npy"] {
            assert!(start(text).is_err(), "{text}");
        }
    }
}
