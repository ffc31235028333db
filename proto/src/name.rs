//! Names from files, escaped for display.

use std::fmt;

/// Name or path from a file, escaped and shortened so that it can be displayed safely.
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Box<str>);

impl Name {
    /// Number of characters after which a name is cut.
    const MAX_CHARS: usize = 200;

    /// Escapes a name: control characters, bidirectional marks and back-quotes are replaced by escape sequences.
    pub fn new(name: &str) -> Name {
        let mut text = String::from("`");
        for char in name.chars().take(Name::MAX_CHARS) {
            match char {
                '`' => text.push_str("\\u{60}"),
                '"' | '\'' => text.push(char),
                _ => text.extend(char.escape_debug()),
            }
        }
        if name.chars().nth(Name::MAX_CHARS).is_some() {
            text.push('…');
        }
        text.push('`');
        Name(text.into())
    }

    /// Creates a name from a trusted word, which is displayed unchanged.
    pub(crate) fn plain(word: &'static str) -> Name {
        Name(word.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(Name::new("conv1.weight").to_string(), "`conv1.weight`");
        assert_eq!(Name::new("a\u{1b}[2J\u{202e}b`").to_string(), "`a\\u{1b}[2J\\u{202e}b\\u{60}`");
        assert_eq!(Name::new(&"x".repeat(1000)).to_string().chars().count(), Name::MAX_CHARS + 3);
    }
}
