//! Texts on the command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::values::positive;

/// Texts and how they become inputs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Text", group(ArgGroup::new("texts").args(["text", "text_file"]).multiple(true)))]
pub struct TextArgs {
    /// A text for the model's `input_ids`, with its mask and types (repeatable: a batch, padded to the longest). `@FILE` is
    /// a file with a text a line, `-` the same from standard input; `\@...` is a text that begins with `@`, `\-` the text
    /// `-`.
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    pub text: Vec<String>,
    /// A file with a text a line (repeatable); `-` is standard input.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub text_file: Vec<PathBuf>,
    /// The tokenizer, a tokenizer.json [default: the one beside the model].
    #[arg(long, value_name = "FILE", requires = "texts")]
    pub tokenizer: Option<PathBuf>,
    /// The most tokens of a text; the rest is left out [default: what the tokenizer and the model say].
    #[arg(long, value_name = "N", value_parser = positive, requires = "texts")]
    pub max_length: Option<usize>,
    /// Leave out what the tokenizer adds to a text, such as its start.
    #[arg(long, requires = "texts")]
    pub no_special_tokens: bool,
}

impl TextArgs {
    /// Returns whether any flag names a text.
    pub fn is_given(&self) -> bool {
        !self.text.is_empty() || !self.text_file.is_empty()
    }
}
