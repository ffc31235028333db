//! The samples of an evaluation: each a batch of one.

use std::collections::BTreeMap;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::rows;

use super::text;
use super::texts::Texts;
use super::{Layout, Sources, arrays, complete, filled, fit, fitted, npy, only, picture, table, unknown};
use crate::error::{Error, Result, ResultExt};
use crate::notes::{Notes, Silent};
use crate::wording::{plural, visible};

/// What is evaluated.
pub struct Samples {
    /// In order.
    pub samples: Vec<Sample>,
    /// Where they come from.
    pub source: Source,
}

/// A sample.
pub struct Sample {
    /// What to call it.
    pub name: String,
    /// Its tensors by input name, a batch of one.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Where samples come from, with the input that they fill.
pub enum Source {
    /// Arrays.
    Arrays,
    /// Pictures.
    Pictures(String, Layout),
    /// A table.
    Table(String),
    /// Texts.
    Texts(Texts),
}

/// The tensors of each input, one a sample, and what to call the samples.
#[derive(Default)]
struct Columns {
    tensors: BTreeMap<String, Vec<Tensor>>,
    names: Vec<String>,
}

impl Columns {
    fn add(&mut self, name: &str, tensors: Vec<Tensor>) -> Result<()> {
        match self.tensors.insert(name.into(), tensors) {
            Some(_) => Err(Error::usage(format!("input `{}` is given twice", visible(name)))),
            None => Ok(()),
        }
    }
}

/// Reads the samples of an evaluation.
///
/// # Errors
/// For inputs that are missing, given twice, unknown or of different numbers of samples, and for files that do not fit.
pub fn read(infos: &[InputInfo], sources: &Sources, limit: usize, notes: &dyn Notes) -> Result<Samples> {
    let max_bytes = sources.max_tensor_bytes;
    let fixed = infos.iter().find(|i| i.ty.rank() == 0 || i.ty.dim(0).as_known().is_some_and(|n| n != 1));
    if let Some(input) = fixed {
        let name = visible(&input.name);
        return Err(Error::unsupported(format!(
            "input `{name}` {} has no batch axis: expected a first axis that is open or 1",
            input.ty
        )));
    }
    let mut columns = Columns::default();
    let mut source = Source::Arrays;
    let mut others = vec![];
    for pair in &sources.arrays {
        let info = filled(infos, pair)?;
        let tensor =
            npy::open(&pair.file, max_bytes).with_context(|| format!("`{}`", pair.file.display()))?;
        columns.add(&info.name, one_by_one(info, &tensor, limit)?)?;
    }
    if let Some(path) = &sources.archive {
        let arrays = arrays(infos, path, max_bytes).with_context(|| format!("`{}`", path.display()))?;
        for info in infos {
            if let Some(tensor) = arrays.found.get(&info.name) {
                columns.add(&info.name, one_by_one(info, tensor, limit)?)?;
            }
        }
        others = arrays.others;
    }
    if !sources.pictures.is_empty() {
        source = pictures(infos, sources, limit, &mut columns, notes)?;
    }
    if let Some(path) = &sources.table {
        let fits = |i: &InputInfo| i.ty.dtype.is_float() && i.ty.rank() == 2;
        let input = only(infos, "a table", "one float input of two axes", fits)?;
        let rows =
            table::read_first(path, limit, max_bytes).with_context(|| format!("`{}`", path.display()))?;
        columns.names = (0..rows.len()).map(|i| format!("row {i}")).collect();
        let tensor = |row: &table::Row| fit::from_f64(input.ty.dtype, &[1, row.values.len()], &row.values);
        let tensors: Option<Vec<Tensor>> = rows.iter().map(tensor).collect();
        columns.add(&input.name, tensors.context("a row does not fill its tensor")?)?;
        source = Source::Table(input.name.clone());
    }
    if !sources.texts.is_empty() {
        let (texts, tensors) = text::read(infos, &sources.texts, &sources.text, limit, notes)?;
        texts.note_losses(notes);
        for (name, tensor) in &tensors {
            let info = infos.iter().find(|i| i.name == *name).ok_or_else(|| unknown(infos, name))?;
            columns.add(name, one_by_one(info, tensor, limit)?)?;
        }
        columns.names.clone_from(&texts.texts);
        source = Source::Texts(texts);
    }
    let samples = transposed(infos, columns, &others, limit, notes)?;
    Ok(Samples { samples, source })
}

/// The rows of an array, each a batch of one.
fn one_by_one(info: &InputInfo, tensor: &Tensor, most: usize) -> Result<Vec<Tensor>> {
    if tensor.dims().len() + 1 == info.ty.rank() {
        return Ok(vec![tensor.clone()]);
    }
    let count = tensor.dims().first().copied().unwrap_or(0);
    let rows: Option<Vec<Tensor>> = (0..count.min(most)).map(|i| rows::slice(tensor, i, 1)).collect();
    rows.filter(|r| !r.is_empty()).ok_or_else(|| {
        Error::invalid(format!(
            "invalid input `{}`: expected at least one row, found {}",
            visible(&info.name),
            tensor.ty()
        ))
    })
}

fn pictures(
    infos: &[InputInfo],
    sources: &Sources,
    limit: usize,
    columns: &mut Columns,
    notes: &dyn Notes,
) -> Result<Source> {
    let fits = picture::takes_picture(infos, sources.picture.layout);
    let input = only(infos, "a picture", "one input of four axes", fits)?;
    let files = picture::files(&sources.pictures)?;
    let mut tensors = vec![];
    let mut layout = Layout::Nchw;
    for (i, file) in files.iter().take(limit).enumerate() {
        // The notes are the same for all pictures: printed once.
        let (said, notes) = (notes, if i == 0 { notes } else { &Silent });
        let picture = picture::read(file, input, &sources.picture, sources.max_tensor_bytes, notes)
            .with_context(|| format!("`{}`", file.display()))?;
        layout = picture.layout;
        for note in &picture.notes {
            said.note(format!("`{}`: {note}", file.display()));
        }
        tensors.push(picture.tensor);
        columns.names.push(file.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    }
    columns.add(&input.name, tensors)?;
    Ok(Source::Pictures(input.name.clone(), layout))
}

/// Columns become samples, all of the same shapes.
fn transposed(
    infos: &[InputInfo],
    columns: Columns,
    others: &[String],
    most: usize,
    notes: &dyn Notes,
) -> Result<Vec<Sample>> {
    let count = columns.tensors.values().map(Vec::len).max().unwrap_or(0);
    if let Some((name, _)) = columns.tensors.iter().find(|(_, t)| t.len() != count) {
        let name = visible(name);
        return Err(Error::invalid(format!(
            "input `{name}` has {}, another {count}",
            plural(columns.tensors[&*name].len(), "sample")
        )));
    }
    let mut samples = vec![];
    for i in 0..count.min(most) {
        let tensors = columns.tensors.iter().map(|(name, t)| (name.clone(), t[i].clone())).collect();
        let notes = if i == 0 { notes } else { &Silent };
        let tensors = fitted(infos, tensors, notes)?;
        complete(infos, &tensors, others)?;
        let name = columns.names.get(i).cloned().unwrap_or_else(|| format!("sample {i}"));
        samples.push(Sample { name, tensors });
    }
    if samples.is_empty() {
        complete(infos, &BTreeMap::new(), others)?;
    }
    Ok(samples)
}
