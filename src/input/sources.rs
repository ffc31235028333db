//! Files and values that fill the inputs of a model.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::picture_options::PictureOptions;
use super::rows::Rows;

/// Files and values that fill the inputs of a model.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// .npy files, one per input.
    pub arrays: Vec<Pair>,
    /// .npz file with arrays by input name, or .npy file for the only input.
    pub archive: Option<PathBuf>,
    /// CSV file with a header.
    pub table: Option<PathBuf>,
    /// Selected rows of the table.
    pub rows: Rows,
    /// Picture files and folders of pictures.
    pub pictures: Vec<PathBuf>,
    /// Map from pictures to their input.
    pub picture: PictureOptions,
    /// Texts and files of texts.
    pub texts: Vec<TextSource>,
    /// Map from texts to their inputs.
    pub text: TextOptions,
    /// Largest size of a tensor, in bytes.
    pub max_tensor_bytes: u64,
}

/// A text, or a source of texts with one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSource {
    /// A single text.
    Text(String),
    /// Lines of a file, with the end of the message for a file that cannot be opened.
    Lines(PathBuf, &'static str),
    /// Lines of standard input.
    StandardInput,
}

/// Map from texts to inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Path of the `tokenizer.json`; `None` for the one beside the model file.
    pub tokenizer: Option<PathBuf>,
    /// Path of the model file, beside which the tokenizer is searched.
    pub model: PathBuf,
    /// Largest number of tokens of a text, which is truncated to it; `None` for the limit of the tokenizer and the model.
    pub max_length: Option<usize>,
    /// True to omit special tokens that the tokenizer adds, such as the start of a text.
    pub no_special_tokens: bool,
}

impl TextOptions {
    /// Returns the options for a tokenizer beside a model file.
    pub fn beside(model: impl AsRef<Path>) -> TextOptions {
        TextOptions { model: model.as_ref().into(), ..TextOptions::default() }
    }
}

/// A file for an input: `NAME=FILE`, or `FILE` for the model's only input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Name of the input; `None` for the only input.
    pub name: Option<String>,
    /// Path of the file.
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

/// The source of the baseline of integrated gradients: `mean`, `median` or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaselineSource {
    /// Mean of the explained rows.
    Mean,
    /// Median of the explained rows.
    Median,
    /// File with an array, a table of one row, or a picture.
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
