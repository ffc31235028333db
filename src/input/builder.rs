//! Inputs of a model, put together one by one.

use std::path::{Path, PathBuf};

use dlbc_ops::tensor::Tensor;

use super::{Inputs, Pair, PictureOptions, Rows, Sources, TextOptions, TextSource, read_with, vocabulary};
use crate::error::Result;
use crate::explainer::Explainer;
use crate::notes::Collected;

/// Inputs of a model under construction: each method adds one or several, [`InputsBuilder::build`] reads the files and fits
/// every tensor to its input.
pub struct InputsBuilder<'a> {
    explainer: &'a Explainer,
    tensors: Vec<(String, Tensor)>,
    picture: Option<PathBuf>,
    sources: Sources,
}

impl Inputs {
    /// Starts the inputs of a model.
    pub fn for_model(explainer: &Explainer) -> InputsBuilder<'_> {
        let sources = Sources { max_tensor_bytes: explainer.max_tensor_bytes(), ..Sources::default() };
        InputsBuilder { explainer, tensors: vec![], picture: None, sources }
    }
}

impl InputsBuilder<'_> {
    /// Adds a tensor by the name of its input.
    #[must_use]
    pub fn array(mut self, name: impl Into<String>, tensor: impl Into<Tensor>) -> Self {
        self.tensors.push((name.into(), tensor.into()));
        self
    }

    /// Adds the array of a .npy file by the name of its input.
    #[must_use]
    pub fn npy(mut self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.sources.arrays.push(Pair { name: Some(name.into()), file: path.as_ref().into() });
        self
    }

    /// Adds the arrays of an .npz file, each by the name of its input.
    #[must_use]
    pub fn npz(mut self, path: impl AsRef<Path>) -> Self {
        self.sources.archive = Some(path.as_ref().into());
        self
    }

    /// Adds a picture for the model's only input that takes one.
    #[must_use]
    pub fn picture(mut self, path: impl AsRef<Path>, options: PictureOptions) -> Self {
        self.picture = Some(path.as_ref().into());
        self.sources.picture = options;
        self
    }

    /// Adds texts, a row each, for the model's input of token ids. The tokenizer is the one beside the model unless the
    /// options name one.
    #[must_use]
    pub fn texts(mut self, texts: &[&str], options: TextOptions) -> Self {
        self.sources.texts = texts.iter().map(|text| TextSource::Text(text.to_string())).collect();
        let model = self.explainer.path().map(PathBuf::from).unwrap_or_default();
        self.sources.text =
            if options.model.as_os_str().is_empty() { TextOptions { model, ..options } } else { options };
        self
    }

    /// Adds a row of a table of comma-separated values, from 0 below its header.
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

    /// Reads the files and fits every tensor to its input.
    ///
    /// # Errors
    /// For inputs that are missing, given twice or unknown, and for files and tensors that do not fit.
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
