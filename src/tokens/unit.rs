//! Tokens with their relevance, and the units that are shown.

use serde::Serialize;

/// Token with its relevance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TokenRelevance {
    /// Spelling of the token in the vocabulary.
    pub token: String,
    /// Characters of the token in the text; its name where it is not in the text.
    pub text: String,
    /// Id of the token in the vocabulary.
    pub id: u32,
    /// Position of the token among the tokens of the text, from 0.
    pub position: usize,
    /// Start in the text, in bytes.
    pub start: usize,
    /// End in the text, in bytes, exclusive.
    pub end: usize,
    /// Start in the text, in characters.
    pub char_start: usize,
    /// End in the text, in characters, exclusive.
    pub char_end: usize,
    /// True if the tokenizer added it: it is not in the text.
    pub special: bool,
    /// Relevance of the token.
    pub relevance: f64,
}

/// Token or word as it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unit {
    /// Text that a list shows.
    pub shown: String,
    /// Positions of its first and its last token.
    pub positions: (usize, usize),
    /// Start in the text, in bytes.
    pub start: usize,
    /// End in the text, in bytes, exclusive; the start, when the tokenizer added it.
    pub end: usize,
    /// True if the tokenizer added it: it is not in the text.
    pub special: bool,
    /// Relevance of the token or word.
    pub relevance: f64,
}

/// Returns the number of characters before each byte, and before the end.
pub fn char_indices(text: &str) -> Vec<usize> {
    let mut indices = vec![0; text.len() + 1];
    for (i, (at, c)) in text.char_indices().enumerate() {
        indices[at..at + c.len_utf8()].fill(i);
    }
    indices[text.len()] = text.chars().count();
    indices
}
