//! Files and values that fill the inputs of a model.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::{DType, Tensor};

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
    /// Strings of the model, for inputs that are strings.
    pub words: Words,
    /// Largest size of a tensor, in bytes.
    pub max_tensor_bytes: u64,
}

/// Strings of a model, and the inputs that hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    names: Vec<String>,
    vocabulary: Vec<String>,
}

impl Words {
    /// Returns the strings of a model.
    pub fn of(info: &Info) -> Words {
        Words { names: info.strings.clone(), vocabulary: info.vocabulary.clone() }
    }

    /// Returns whether an input is of strings.
    pub fn holds(&self, input: &str) -> bool {
        self.names.iter().any(|name| name == input)
    }

    /// Returns the number of a string, which is that of all unknown strings if the model does not have it.
    pub fn number(&self, word: &str) -> i64 {
        self.vocabulary.iter().position(|w| w == word).unwrap_or(self.vocabulary.len()) as i64
    }

    /// Returns the numbers of an array of strings, which is read as an array of characters with a further axis; other arrays
    /// as they are.
    pub fn numbers(&self, characters: Tensor) -> Tensor {
        let [dims @ .., width] = characters.dims() else { return characters };
        if characters.dtype() != DType::U32 {
            return characters;
        }
        let codes = characters.to_i64();
        let word = |i: usize| -> i64 {
            let row = codes[i * width..(i + 1) * width].iter();
            // Strings end in zeros up to the width of the array.
            let text: String = row.filter_map(|code| char::from_u32(u32::try_from(*code).ok()?)).collect();
            self.number(text.trim_end_matches('\0'))
        };
        let count = dims.iter().product();
        let numbers: Vec<i64> = (0..count).map(word).collect();
        Tensor::from_i64(dims, &numbers)
    }
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

#[cfg(test)]
mod words {
    use super::*;

    #[test]
    fn arrays_of_characters_are_strings() {
        let names = vec!["color".to_string()];
        let words = Words { names, vocabulary: vec!["red".into(), "blue".into(), "".into()] };
        let codes = ["red\0", "blue", "\0\0\0\0", "bl\0\0"].concat();
        let codes: Vec<u8> = codes.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let characters = Tensor::from_bytes(DType::U32, vec![2, 2, 4], std::sync::Arc::new(codes));
        let numbers = words.numbers(characters.expect("characters"));
        assert_eq!((numbers.dims(), numbers.to_i64()), (&[2, 2][..], vec![0, 1, 2, 3]));
        assert!(words.holds("color") && !words.holds("age"));
    }
}
