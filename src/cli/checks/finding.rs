//! Finding of a check.

use std::fmt;

/// Finding about a map, and the flags that show more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Statement about the map.
    pub text: String,
    /// Line of help.
    pub help: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.help)
    }
}
