//! Samples of an evaluation, each as a batch of one.

use std::collections::BTreeMap;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::rows;

use super::text;
use super::texts::Texts;
use super::{
    Layout, Sources, arrays, check_complete, fit, fit_all, input_of, npy, only, picture, table, unknown,
};
use crate::error::{Error, Result, ResultExt};
use crate::notes::{Notes, Silent};
use crate::wording::{plural, visible};

/// The samples of an evaluation with their kind.
pub struct Samples {
    /// Samples, in the order of the files.
    pub samples: Vec<Sample>,
    /// Kind of the samples.
    pub source: Source,
}

/// A sample of an evaluation.
pub struct Sample {
    /// Name in messages and results.
    pub name: String,
    /// Tensors by input name, each a batch of one.
    pub tensors: BTreeMap<String, Tensor>,
}

/// The kind of samples.
pub enum Source {
    /// Arrays.
    Arrays,
    /// Pictures, with the name of the input that they fill and the position of its channel axis.
    Pictures(String, Layout),
    /// Rows of a table, with the name of the input that they fill.
    Table(String),
    /// Texts.
    Texts(Texts),
}

/// The tensors of each input, one per sample, and the names of the samples.
#[derive(Default)]
struct Columns {
    tensors: BTreeMap<String, Vec<Tensor>>,
    names: Vec<String>,
}

impl Columns {
    /// Adds the tensors of an input.
    fn add(&mut self, name: &str, tensors: Vec<Tensor>) -> Result<()> {
        match self.tensors.insert(name.into(), tensors) {
            Some(_) => Err(Error::usage(format!("input `{}` is given twice", visible(name)))),
            None => Ok(()),
        }
    }
}

/// Reads the first `limit` samples.
///
/// # Errors
/// When an input is missing, unknown, given twice or has another number of samples, or a file does not fit.
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
        let info = input_of(infos, pair)?;
        let tensor =
            npy::open(&pair.file, max_bytes).with_context(|| format!("`{}`", pair.file.display()))?;
        columns.add(&info.name, split_rows(info, &tensor, limit)?)?;
    }
    if let Some(path) = &sources.archive {
        let arrays =
            arrays(infos, path, sources, max_bytes).with_context(|| format!("`{}`", path.display()))?;
        for info in infos {
            if let Some(tensor) = arrays.selected.get(&info.name) {
                columns.add(&info.name, split_rows(info, tensor, limit)?)?;
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
            columns.add(name, split_rows(info, tensor, limit)?)?;
        }
        columns.names.clone_from(&texts.texts);
        source = Source::Texts(texts);
    }
    let samples = columns_to_samples(infos, columns, &others, limit, notes)?;
    Ok(Samples { samples, source })
}

/// Splits an array into its first `limit` rows, each a batch of one.
fn split_rows(info: &InputInfo, tensor: &Tensor, limit: usize) -> Result<Vec<Tensor>> {
    if tensor.dims().len() + 1 == info.ty.rank() {
        return Ok(vec![tensor.clone()]);
    }
    let count = tensor.dims().first().copied().unwrap_or(0);
    let rows: Option<Vec<Tensor>> = (0..count.min(limit)).map(|i| rows::slice(tensor, i, 1)).collect();
    rows.filter(|r| !r.is_empty()).ok_or_else(|| {
        Error::invalid(format!(
            "invalid input `{}`: expected at least one row, found {}",
            visible(&info.name),
            tensor.ty()
        ))
    })
}

/// Reads the first `limit` pictures.
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
        // Notes on the input are the same for all pictures, notes on a picture are not.
        let (picture_notes, notes) = (notes, if i == 0 { notes } else { &Silent });
        let picture = picture::read(file, input, &sources.picture, sources.max_tensor_bytes, notes)
            .with_context(|| format!("`{}`", file.display()))?;
        layout = picture.layout;
        for note in &picture.notes {
            picture_notes.note(format!("`{}`: {note}", file.display()));
        }
        tensors.push(picture.tensor);
        columns.names.push(file.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    }
    columns.add(&input.name, tensors)?;
    Ok(Source::Pictures(input.name.clone(), layout))
}

/// Assembles samples from the tensors of each input.
fn columns_to_samples(
    infos: &[InputInfo],
    columns: Columns,
    others: &[String],
    limit: usize,
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
    for i in 0..count.min(limit) {
        let tensors = columns.tensors.iter().map(|(name, t)| (name.clone(), t[i].clone())).collect();
        let notes = if i == 0 { notes } else { &Silent };
        let tensors = fit_all(infos, tensors, notes)?;
        check_complete(infos, &tensors, others)?;
        let name = columns.names.get(i).cloned().unwrap_or_else(|| format!("sample {i}"));
        samples.push(Sample { name, tensors });
    }
    if samples.is_empty() {
        check_complete(infos, &BTreeMap::new(), others)?;
    }
    Ok(samples)
}
