//! Texts with their tokens.

use std::ops::Range;
use std::path::PathBuf;

/// A token of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Spelling in the vocabulary.
    pub text: String,
    /// Id in the vocabulary.
    pub id: u32,
    /// Range of bytes in the text; empty for a token that the tokenizer adds.
    pub span: Range<usize>,
    /// True for a token that the tokenizer adds, such as the start of a text or padding.
    pub special: bool,
    /// True for padding, which the attention mask excludes.
    pub padding: bool,
    /// True for the token that replaces a part of the text that the vocabulary does not have.
    pub unknown: bool,
}

impl Token {
    /// Returns whether the token stands for a part of the text.
    pub fn is_of_text(&self) -> bool {
        !self.special && !self.padding
    }
}

/// Texts with their tokens, one row of the batch per text; all rows have the same length.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// Name of the input of token ids.
    pub input: String,
    /// Texts, as the caller passes them.
    pub texts: Vec<String>,
    /// Name of each text in messages: its index in the batch, and its line in a file.
    pub names: Vec<String>,
    /// Tokens of each text.
    pub tokens: Vec<Vec<Token>>,
    /// Parts of each text that do not reach the model.
    pub losses: Vec<Loss>,
    /// Path of the tokenizer file.
    pub tokenizer: PathBuf,
    /// Size of the tokenizer's vocabulary: its largest id plus 1.
    pub vocabulary: usize,
    /// Name of the input of the attention mask.
    pub mask: Option<String>,
    /// Id of the padding token.
    pub pad: u32,
}

/// Parts of a text that do not reach the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Number of tokens before truncation, without padding.
    pub tokens: usize,
    /// Number of truncated tokens.
    pub cut: usize,
    /// Parts for which the tokenizer produces no token.
    pub dropped: Vec<String>,
    /// Parts that the unknown token replaces.
    pub unknown: Vec<String>,
}
