//! Builder of a model's inputs.

use std::path::{Path, PathBuf};

use dlbc_ops::tensor::Tensor;

use super::{
    Inputs, Pair, PictureOptions, Rows, Sources, TextOptions, TextSource, Words, read_with, vocabulary,
};
use crate::error::Result;
use crate::explainer::Explainer;
use crate::notes::Collected;

/// Builder of [`Inputs`]. Its methods add inputs; [`InputsBuilder::build`] reads the files and converts every tensor to the type
/// and shape of its input.
pub struct InputsBuilder<'a> {
    explainer: &'a Explainer,
    tensors: Vec<(String, Tensor)>,
    picture: Option<PathBuf>,
    sources: Sources,
}

impl Inputs {
    /// Starts a builder of inputs for a model.
    pub fn for_model(explainer: &Explainer) -> InputsBuilder<'_> {
        let words = Words::of(explainer.info());
        let max_tensor_bytes = explainer.max_tensor_bytes();
        let sources = Sources { words, max_tensor_bytes, ..Sources::default() };
        InputsBuilder { explainer, tensors: vec![], picture: None, sources }
    }
}

impl InputsBuilder<'_> {
    /// Adds a tensor for the input `name`.
    #[must_use]
    pub fn array(mut self, name: impl Into<String>, tensor: impl Into<Tensor>) -> Self {
        self.tensors.push((name.into(), tensor.into()));
        self
    }

    /// Adds the array of a .npy file for the input `name`.
    #[must_use]
    pub fn npy(mut self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.sources.arrays.push(Pair { name: Some(name.into()), file: path.as_ref().into() });
        self
    }

    /// Adds the arrays of an .npz file, each for the input of its name.
    #[must_use]
    pub fn npz(mut self, path: impl AsRef<Path>) -> Self {
        self.sources.archive = Some(path.as_ref().into());
        self
    }

    /// Adds a picture file for the only input of the model that takes pictures.
    #[must_use]
    pub fn picture(mut self, path: impl AsRef<Path>, options: PictureOptions) -> Self {
        self.picture = Some(path.as_ref().into());
        self.sources.picture = options;
        self
    }

    /// Adds texts for the model's input of token ids, one row per text. Unless the options name a tokenizer, it is the
    /// `tokenizer.json` beside the model file.
    #[must_use]
    pub fn texts(mut self, texts: &[&str], options: TextOptions) -> Self {
        self.sources.texts = texts.iter().map(|text| TextSource::Text(text.to_string())).collect();
        let model = self.explainer.path().map(PathBuf::from).unwrap_or_default();
        self.sources.text =
            if options.model.as_os_str().is_empty() { TextOptions { model, ..options } } else { options };
        self
    }

    /// Adds one row of a table of comma-separated values. Rows count from 0 below the header.
    #[must_use]
    pub fn table_row(self, path: impl AsRef<Path>, row: usize) -> Self {
        self.table_rows(path, Rows::Listed(vec![row..=row]))
    }

    /// Adds rows of a table of comma-separated values as one batch.
    #[must_use]
    pub fn table_rows(mut self, path: impl AsRef<Path>, rows: Rows) -> Self {
        self.sources.table = Some(path.as_ref().into());
        self.sources.rows = rows;
        self
    }

    /// Reads the files and converts every tensor to the type and shape of its input.
    ///
    /// # Errors
    /// When an input is missing, unknown or given twice, or a file or tensor does not fit.
    pub fn build(self) -> Result<Inputs> {
        let (infos, notes) = (self.explainer.inputs(), Collected::default());
        let mut inputs = read_with(infos, self.tensors, self.picture.as_deref(), &self.sources, &notes)?;
        if let Some(texts) = &inputs.texts {
            vocabulary::check(self.explainer.lookup_program(), texts, &notes)?;
        }
        #[cfg(feature = "images")]
        inputs.picture.iter().for_each(|seen| seen.note(&notes));
        inputs.notes = notes.take();
        Ok(inputs)
    }
}
