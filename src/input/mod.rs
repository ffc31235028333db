//! Inputs of a run: reads pictures, texts, tables and arrays as tensors of the model's types.

pub mod background;
#[cfg(feature = "eval")]
pub mod baseline;
mod builder;
pub mod caches;
mod choice;
#[cfg(feature = "table")]
mod columns;
mod feature;
mod fit;
#[cfg(feature = "eval")]
mod many;
pub mod npy;
mod npy_header;
pub mod npz;
#[cfg(feature = "images")]
mod picture;
mod picture_options;
mod rows;
mod sources;
#[cfg(feature = "table")]
mod table;
#[cfg(feature = "text")]
mod text;
#[cfg(feature = "text")]
mod text_loss;
#[cfg(feature = "text")]
mod text_source;
mod texts;
pub mod vocabulary;

use std::collections::BTreeMap;
use std::path::Path;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{Bindings, Tensor};
use dlbc_runtime::{AsViews, Position, Tensors, Views};
#[cfg(feature = "images")]
use image::RgbImage;

pub use builder::InputsBuilder;
pub use feature::{Columns, Feature};
pub use fit::from_f64;
#[cfg(feature = "eval")]
pub use many::{Source, read as samples};
#[cfg(test)]
pub use npz::read as read_npz;
#[cfg(feature = "images")]
pub use picture::{Fit, files};
pub use picture_options::{Channels, Layout, PictureOptions, Preset, Resize};
pub use rows::Rows;
pub use sources::{BaselineSource, Pair, Sources, TextOptions, TextSource, Words};
pub use texts::{Loss, Texts, Token};

#[cfg(feature = "table")]
use columns::Plan;
use npy::Elements;
use npz::Arrays;

use crate::content::{Content, content};
use crate::error::{Error, Result, ResultExt};
use crate::nearest::nearest;
use crate::notes::{Note, Notes};
use crate::remedy::Remedy;
use crate::wording::visible;
#[cfg(any(feature = "images", feature = "table"))]
use choice::only;
use choice::only_input;
#[cfg(feature = "images")]
use picture::Picture;

/// The inputs of a run, with the pictures, tables and texts that they come from.
#[derive(Default)]
pub struct Inputs {
    /// Tensors by input name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Picture that fills an input.
    #[cfg(feature = "images")]
    pub picture: Option<InputPicture>,
    /// Columns and rows of the table that fills inputs.
    pub table: Option<Columns>,
    /// Texts that fill an input, with their tokens.
    pub texts: Option<Texts>,
    /// Notes on inputs that were resized, truncated, converted or ignored.
    pub notes: Vec<Note>,
}

impl AsViews for Inputs {
    fn views(&self) -> Views<'_> {
        self.tensors.views()
    }
}

impl<const N: usize> From<[(&str, Tensor); N]> for Inputs {
    fn from(tensors: [(&str, Tensor); N]) -> Inputs {
        Inputs::from(
            tensors.map(|(name, tensor)| (name.to_string(), tensor)).into_iter().collect::<Tensors>(),
        )
    }
}

impl From<Tensors> for Inputs {
    fn from(tensors: Tensors) -> Inputs {
        Inputs { tensors, ..Inputs::default() }
    }
}

impl Inputs {
    /// Returns the last unmasked position of each row, by the input `attention_mask`; without a mask the last position.
    pub fn position(&self) -> Position {
        last_unmasked_position(&self.views())
    }
}

/// Returns the last unmasked position of each row, by the input `attention_mask`; without a mask the last position.
pub(crate) fn last_unmasked_position(inputs: &Views<'_>) -> Position {
    let Some(mask) = inputs.get("attention_mask") else { return Position::At(-1) };
    let [_, length] = mask.dims() else { return Position::At(-1) };
    let values = mask.to_f64();
    let last = |row: &[f64]| row.iter().rposition(|m| *m != 0.0).unwrap_or(length - 1);
    Position::LastUnmasked { mask_len: *length, last: values.chunks((*length).max(1)).map(last).collect() }
}

/// A picture with the part of it that the model receives.
#[cfg(feature = "images")]
pub struct InputPicture {
    /// Name of the input.
    pub input: String,
    /// Path of the picture file.
    pub file: std::path::PathBuf,
    /// Whole picture of the file.
    pub original: RgbImage,
    /// Part that fills the input, at the input's size.
    pub crop: RgbImage,
    /// Map from pixels of the file to pixels of the input.
    pub fit: Fit,
    /// Position of the input's channel axis.
    pub layout: Layout,
    /// Notes on changes that a viewer of the file does not expect, such as a rotation or the removal of transparency.
    pub notes: Vec<&'static str>,
}

#[cfg(feature = "images")]
impl InputPicture {
    /// Emits the picture's notes with its file name.
    pub fn note(&self, notes: &dyn Notes) {
        for note in &self.notes {
            notes.note(format!("`{}`: {note}", self.file.display()));
        }
    }
}

/// Reads all inputs of a model. `picture` is the picture of this run among those of `sources`.
///
/// # Errors
/// When an input is missing, unknown or given twice, or a file does not fit.
pub fn read(
    infos: &[InputInfo],
    picture: Option<&Path>,
    sources: &Sources,
    notes: &dyn Notes,
) -> Result<Inputs> {
    read_with(infos, vec![], picture, sources, notes)
}

/// Reads all inputs of a model, some of which have tensors already.
fn read_with(
    infos: &[InputInfo],
    tensors: Vec<(String, Tensor)>,
    picture: Option<&Path>,
    sources: &Sources,
    notes: &dyn Notes,
) -> Result<Inputs> {
    let max_bytes = sources.max_tensor_bytes;
    let mut reader = Reader { infos, sources, notes, max_bytes, inputs: Inputs::default(), others: vec![] };
    for (name, tensor) in tensors {
        let info = infos.iter().find(|i| i.name == name).ok_or_else(|| unknown(infos, &name))?;
        reader.add(&info.name, tensor)?;
    }
    reader.single_arrays()?;
    reader.picture(picture)?;
    reader.table()?;
    reader.text()?;
    reader.archive()?;
    reader.finish()
}

/// Reader of the inputs of a model.
struct Reader<'a> {
    infos: &'a [InputInfo],
    sources: &'a Sources,
    notes: &'a dyn Notes,
    max_bytes: u64,
    inputs: Inputs,
    /// Names of arrays in the archive that are not inputs of the model.
    others: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Adds the tensor of an input.
    fn add(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        match self.inputs.tensors.insert(name.into(), tensor) {
            Some(_) => Err(Error::usage(format!("input `{}` is given twice", visible(name)))),
            None => Ok(()),
        }
    }

    fn single_arrays(&mut self) -> Result<()> {
        let sources = self.sources;
        for pair in &sources.arrays {
            let input = input_of(self.infos, pair)?;
            let elements = elements(&sources.words, &input.name);
            let tensor = npy::open_as(&pair.file, elements, self.max_bytes)
                .with_context(|| format!("`{}`", pair.file.display()))?;
            self.add(&input.name, tensor)?;
        }
        Ok(())
    }

    fn archive(&mut self) -> Result<()> {
        let Some(path) = &self.sources.archive else { return Ok(()) };
        let arrays = arrays(self.infos, path, self.sources, self.max_bytes)
            .with_context(|| format!("`{}`", path.display()))?;
        if !arrays.others.is_empty() {
            let others: Vec<String> = arrays.others.iter().map(|o| format!("`{}`", visible(o))).collect();
            self.notes.note(format!(
                "`{}`: not an input of the model: {}",
                path.display(),
                others.join(", ")
            ));
        }
        for (name, tensor) in arrays.selected {
            self.add(&name, tensor)?;
        }
        self.others = arrays.others;
        Ok(())
    }

    #[cfg(feature = "images")]
    fn picture(&mut self, file: Option<&Path>) -> Result<()> {
        let Some(path) = file else { return Ok(()) };
        let fits = picture::takes_picture(self.infos, self.sources.picture.layout);
        let input = only(self.infos, "a picture", "one input of four axes", fits)?;
        let picture = picture::read(path, input, &self.sources.picture, self.max_bytes, self.notes)
            .with_context(|| format!("`{}`", path.display()))?;
        let Picture { tensor, original, crop, fit, layout, notes } = picture;
        let (input, file) = (input.name.clone(), path.to_path_buf());
        self.inputs.picture =
            Some(InputPicture { input: input.clone(), file, original, crop, fit, layout, notes });
        self.add(&input, tensor)
    }

    #[cfg(not(feature = "images"))]
    fn picture(&mut self, file: Option<&Path>) -> Result<()> {
        if file.is_some() { Err(missing_feature("pictures", "images")) } else { Ok(()) }
    }

    #[cfg(feature = "table")]
    fn table(&mut self) -> Result<()> {
        let Some(path) = &self.sources.table else { return Ok(()) };
        let read = || {
            let table = table::open(path, self.max_bytes)?;
            let header = table.features().to_vec();
            let plan = Plan::new(self.infos, &header, &self.inputs.tensors, self.notes)?;
            let words = &self.sources.words;
            let table = table.with_words(plan.word_columns(self.infos, words), words);
            let rows = table.rows(&plan.columns(), &self.sources.rows)?;
            plan.tensors(self.infos, &header, &rows)
        };
        let (table, tensors) = read().with_context(|| format!("`{}`", path.display()))?;
        self.inputs.table = Some(table);
        tensors.into_iter().try_for_each(|(name, tensor)| self.add(&name, tensor))
    }

    #[cfg(not(feature = "table"))]
    fn table(&mut self) -> Result<()> {
        if self.sources.table.is_some() { Err(missing_feature("tables", "table")) } else { Ok(()) }
    }

    #[cfg(feature = "text")]
    fn text(&mut self) -> Result<()> {
        if self.sources.texts.is_empty() {
            return Ok(());
        }
        let (texts, tensors) =
            text::read(self.infos, &self.sources.texts, &self.sources.text, usize::MAX, self.notes)?;
        texts.refuse_empty()?;
        texts.note_losses(self.notes);
        for (name, tensor) in tensors {
            // An array by name takes precedence over the mask and the types of the tokenizer.
            if name == texts.input || !self.inputs.tensors.contains_key(&name) {
                self.add(&name, tensor)?;
            }
        }
        self.inputs.texts = Some(texts);
        Ok(())
    }

    #[cfg(not(feature = "text"))]
    fn text(&mut self) -> Result<()> {
        if !self.sources.texts.is_empty() { Err(missing_feature("texts", "text")) } else { Ok(()) }
    }

    /// Checks that no input is missing and converts all tensors.
    fn finish(mut self) -> Result<Inputs> {
        caches::fill(self.infos, &mut self.inputs.tensors, self.notes);
        check_complete(self.infos, &self.inputs.tensors, &self.others)?;
        let words = &self.sources.words;
        for (name, tensor) in self.inputs.tensors.iter_mut().filter(|(name, _)| words.holds(name)) {
            let rank = self.infos.iter().find(|i| i.name == *name).map_or(0, |i| i.ty.rank());
            if tensor.dims().len() == rank + 1 {
                *tensor = words.numbers(tensor.clone());
            }
        }
        self.inputs.tensors = fit_all(self.infos, self.inputs.tensors, self.notes)?;
        Ok(self.inputs)
    }
}

/// Returns the error for a kind of inputs whose feature this build does not have.
#[cfg(not(all(feature = "images", feature = "text", feature = "table")))]
fn missing_feature(inputs: &str, feature: &str) -> Error {
    Error::unsupported(format!("{inputs} are not available: built without feature `{feature}`"))
}

/// Returns the error for a name that is not an input of the model.
fn unknown(infos: &[InputInfo], name: &str) -> Error {
    let known: Vec<String> = infos.iter().map(|i| format!("`{}`", visible(&i.name))).collect();
    let message = format!("unknown input `{}`: expected {}", visible(name), known.join(", "));
    Error::unknown(message, name, infos.iter().map(|i| i.name.as_str()))
}

/// Returns the input that a file fills: the named one, or the model's only input.
fn input_of<'a>(infos: &'a [InputInfo], pair: &Pair) -> Result<&'a InputInfo> {
    match &pair.name {
        Some(name) => infos.iter().find(|i| i.name == *name).ok_or_else(|| unknown(infos, name)),
        None => only_input(infos, &pair.file),
    }
}

/// Reads the arrays of an .npz archive by name, or the array of a .npy file for the model's only input.
fn arrays(infos: &[InputInfo], path: &Path, sources: &Sources, max_bytes: u64) -> Result<Arrays> {
    let elements = |name: &str| elements(&sources.words, name);
    if content(path) != Some(Content::Npy) {
        let of_input = |name: &str| infos.iter().any(|i| i.name == name).then(|| elements(name));
        return npz::read_as(path, of_input, max_bytes);
    }
    let input = only_input(infos, path)?;
    let selected =
        BTreeMap::from([(input.name.clone(), npy::open_as(path, elements(&input.name), max_bytes)?)]);
    Ok(Arrays { selected, others: vec![], metadata: BTreeMap::new() })
}

/// Returns the elements that an array of an input may have.
fn elements(words: &Words, input: &str) -> Elements {
    if words.holds(input) { Elements::Strings } else { Elements::Numbers }
}

/// Refuses missing inputs; `others` are the names of arrays in a file that are not inputs.
fn check_complete(infos: &[InputInfo], tensors: &BTreeMap<String, Tensor>, others: &[String]) -> Result<()> {
    let missing: Vec<&InputInfo> = infos.iter().filter(|i| !tensors.contains_key(&i.name)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let names: Vec<String> = missing.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
    let s = if missing.len() == 1 { "" } else { "s" };
    let message = format!("missing input{s} {}", names.join(", "));
    if others.is_empty() {
        return Err(Error::usage(message).with_remedy(Remedy::Inputs));
    }
    let quoted: Vec<String> = others.iter().map(|o| format!("`{}`", visible(o))).collect();
    // The array that was probably meant for the input: one of a similar name, else the first.
    let similar = nearest(&first.name, others.iter().map(String::as_str)).first().copied();
    let meant = similar.or(others.first().map(String::as_str)).unwrap_or_default();
    let help = format!("did you mean `{}`? An array has the name of its input", visible(&first.name));
    let help = if similar.is_some() { help } else { format!("name `{}` as its input", visible(meant)) };
    Err(Error::usage(format!("{message}: the file has {}", quoted.join(", "))).with_hint(Some(help)))
}

/// Converts every tensor to the type and shape of its input.
fn fit_all(
    infos: &[InputInfo],
    mut tensors: BTreeMap<String, Tensor>,
    notes: &dyn Notes,
) -> Result<BTreeMap<String, Tensor>> {
    let mut bindings = Bindings::new();
    for info in infos {
        if let Some(tensor) = tensors.remove(&info.name) {
            let converted = fit::fit(info, tensor, &mut bindings, notes)?;
            tensors.insert(info.name.clone(), converted);
        }
    }
    Ok(tensors)
}
