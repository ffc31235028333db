//! Texts with their tokens.

use std::ops::Range;
use std::path::PathBuf;

/// A token of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// As the vocabulary spells it.
    pub text: String,
    /// Its id.
    pub id: u32,
    /// Where it stands in the text, in bytes; empty for what the tokenizer added.
    pub span: Range<usize>,
    /// Added by the tokenizer: the start of a text, padding.
    pub special: bool,
    /// Padding, which the mask hides.
    pub padding: bool,
    /// Stands for a part of the text that the vocabulary does not have.
    pub unknown: bool,
}

impl Token {
    /// Returns whether the token stands for a part of the text.
    pub fn is_of_text(&self) -> bool {
        !self.special && !self.padding
    }
}

/// Texts with their tokens: a row of the batch each, all of one length.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// The model input that holds the ids.
    pub input: String,
    /// The texts as given.
    pub texts: Vec<String>,
    /// The name of each text in messages: its place in the batch, and in its file.
    pub names: Vec<String>,
    /// The tokens of each.
    pub tokens: Vec<Vec<Token>>,
    /// The parts of each that the model does not see.
    pub losses: Vec<Loss>,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// The number of ids of the tokenizer: its largest id, and 1.
    pub vocabulary: usize,
    /// The model input that says which tokens count.
    pub mask: Option<String>,
    /// The id of padding.
    pub pad: u32,
}

/// Parts of a text that the model does not see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Tokens with those that are cut off, without padding.
    pub tokens: usize,
    /// Tokens that are cut off.
    pub cut: usize,
    /// Parts that became no token.
    pub dropped: Vec<String>,
    /// Parts that became the unknown token.
    pub unknown: Vec<String>,
}
