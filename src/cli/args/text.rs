//! Flags of texts and their conversion into inputs.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use super::values::positive;
use dlbc::input::{TextOptions, TextSource};

/// Texts and their conversion into inputs.
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
    /// The tokenizer, a tokenizer.json [default: the file beside the model].
    #[arg(long, value_name = "FILE", requires = "texts")]
    pub tokenizer: Option<PathBuf>,
    /// Maximum number of tokens of a text; the rest is cut off [default: the limit of the tokenizer and the model].
    #[arg(long, value_name = "N", value_parser = positive, requires = "texts")]
    pub max_length: Option<usize>,
    /// Leave out the special tokens that the tokenizer adds, such as a start token.
    #[arg(long, requires = "texts")]
    pub no_special_tokens: bool,
}

impl TextArgs {
    /// Returns whether any flag names a text.
    pub fn is_given(&self) -> bool {
        !self.text.is_empty() || !self.text_file.is_empty()
    }

    /// Returns the sources of the texts, those of `--text` first.
    pub fn sources(&self) -> Vec<TextSource> {
        let source = |text: &String| match text.as_str() {
            "-" => TextSource::StandardInput,
            "\\-" => TextSource::Text("-".into()),
            _ => match (text.strip_prefix('@'), text.strip_prefix("\\@")) {
                (Some(path), _) => {
                    TextSource::Lines(path.into(), "; a text that begins with `@` is written `\\@...`")
                }
                (_, Some(rest)) => TextSource::Text(format!("@{rest}")),
                _ => TextSource::Text(text.clone()),
            },
        };
        let file = |path: &PathBuf| match path.as_os_str() == "-" {
            true => TextSource::StandardInput,
            false => TextSource::Lines(path.clone(), ""),
        };
        self.text.iter().map(source).chain(self.text_file.iter().map(file)).collect()
    }

    /// Returns the options for tokenizing texts for the model in file `model`.
    pub fn options(&self, model: &Path) -> TextOptions {
        TextOptions {
            tokenizer: self.tokenizer.clone(),
            model: model.into(),
            max_length: self.max_length,
            no_special_tokens: self.no_special_tokens,
        }
    }
}
