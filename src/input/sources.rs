//! Files and values that become the inputs of a model.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::picture_options::PictureOptions;
use super::rows::Rows;

/// Files and values that become the inputs of a model.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Arrays in .npy files, one for an input.
    pub arrays: Vec<Pair>,
    /// An .npz file with arrays by input name, or a .npy file for the only input.
    pub archive: Option<PathBuf>,
    /// A table under a header.
    pub table: Option<PathBuf>,
    /// Rows of the table.
    pub rows: Rows,
    /// Pictures and folders of pictures.
    pub pictures: Vec<PathBuf>,
    /// Map from pictures to their input.
    pub picture: PictureOptions,
    /// Texts.
    pub texts: Vec<TextSource>,
    /// Map from texts to their inputs.
    pub text: TextOptions,
    /// Bytes of one tensor at most.
    pub max_tensor_bytes: u64,
}

/// A text, or a place of texts, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSource {
    /// A text as it stands.
    Text(String),
    /// Lines of a file, and a text for the message when it cannot be opened.
    Lines(PathBuf, &'static str),
    /// Lines of standard input.
    StandardInput,
}

/// Map from texts to inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The tokenizer.json; the one beside the model where there is none.
    pub tokenizer: Option<PathBuf>,
    /// The model's file, beside which a tokenizer may lie.
    pub model: PathBuf,
    /// Tokens of a text at most; the rest is left out. By default what the tokenizer and the model say.
    pub max_length: Option<usize>,
    /// Leaves out what the tokenizer adds to a text, such as its start.
    pub no_special_tokens: bool,
}

impl TextOptions {
    /// Options for a model's file.
    pub fn beside(model: impl AsRef<Path>) -> TextOptions {
        TextOptions { model: model.as_ref().into(), ..TextOptions::default() }
    }
}

/// `NAME=FILE`, or `FILE` for a model's only input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The input's name, where it is given.
    pub name: Option<String>,
    /// The file.
    pub file: PathBuf,
}

impl FromStr for Pair {
    type Err = String;
    fn from_str(text: &str) -> Result<Pair, String> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                Ok(Pair { name: Some(name.into()), file: file.into() })
            }
            None if !text.is_empty() => Ok(Pair { name: None, file: text.into() }),
            _ => Err("expected NAME=FILE, or FILE for a model with one input".into()),
        }
    }
}

/// Baseline of integrated gradients: `mean`, `median`, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaselineSource {
    /// The mean of the rows.
    Mean,
    /// The median of the rows.
    Median,
    /// An array, a table of one row, or a picture.
    File(PathBuf),
}

impl FromStr for BaselineSource {
    type Err = String;
    fn from_str(text: &str) -> Result<BaselineSource, String> {
        match text {
            "" => Err("expected mean, median or a file".into()),
            "mean" => Ok(BaselineSource::Mean),
            "median" => Ok(BaselineSource::Median),
            file => Ok(BaselineSource::File(file.into())),
        }
    }
}
