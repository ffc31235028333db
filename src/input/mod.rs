//! The inputs of a run: files of the command line become tensors of the model's types.

mod crop;
mod fit;
mod many;
mod npy;
mod npy_header;
pub mod npz;
mod picture;
pub mod result;
mod table;
mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use anyhow::Context;
use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{Bindings, Tensor};
use image::RgbImage;

pub use crop::Fit;
pub use fit::from_f64;
pub use many::{Source, read as samples};
#[cfg(test)]
pub use npz::read as read_npz;
pub use text::{Texts, Token};

use crate::args::RunArgs;
use crate::exit::{invalid, usage};
use crate::terminal::{Console, plural, visible};

/// What a run starts from.
#[derive(Default)]
pub struct Inputs {
    /// The tensors by input name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The input that came from a picture.
    pub picture: Option<Seen>,
    /// The input that came from a table, and the names of its features.
    pub features: Option<(String, Vec<String>)>,
    /// The input that came from texts, and their tokens.
    pub texts: Option<Texts>,
}

/// A picture as the model sees it.
pub struct Seen {
    /// The input.
    pub input: String,
    /// What became it, at its size.
    pub crop: RgbImage,
    /// Where a pixel of the file is in it.
    pub fit: Fit,
}

/// Reads every input that the model has.
///
/// # Errors
/// For inputs that are missing, given twice or unknown, and for files that do not fit.
pub fn read(infos: &[InputInfo], args: &RunArgs, console: Console) -> anyhow::Result<Inputs> {
    let mut reader =
        Reader { infos, args, console, max_bytes: args.limits.tensor_bytes(), inputs: Inputs::default() };
    reader.single_arrays()?;
    reader.picture()?;
    reader.table()?;
    reader.text()?;
    reader.archive()?;
    reader.finish()
}

struct Reader<'a> {
    infos: &'a [InputInfo],
    args: &'a RunArgs,
    console: Console,
    max_bytes: u64,
    inputs: Inputs,
}

impl<'a> Reader<'a> {
    fn add(&mut self, name: &str, tensor: Tensor) -> anyhow::Result<()> {
        match self.inputs.tensors.insert(name.into(), tensor) {
            Some(_) => Err(usage(format!("input `{}` is given twice", visible(name)))),
            None => Ok(()),
        }
    }

    fn single_arrays(&mut self) -> anyhow::Result<()> {
        let args = self.args;
        for pair in &args.input {
            if !self.infos.iter().any(|i| i.name == pair.name) {
                return Err(unknown(self.infos, &pair.name));
            }
            let read = || {
                let file = File::open(&pair.file).map_err(|e| invalid(e.to_string()))?;
                npy::read(&mut BufReader::new(file), self.max_bytes)
            };
            let tensor = read().with_context(|| format!("`{}`", pair.file.display()))?;
            self.add(&pair.name, tensor)?;
        }
        Ok(())
    }

    fn archive(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.args.inputs else { return Ok(()) };
        let wanted = |name: &str| self.infos.iter().any(|i| i.name == name);
        let arrays =
            npz::read(path, wanted, self.max_bytes).with_context(|| format!("`{}`", path.display()))?;
        if !arrays.others.is_empty() {
            let others: Vec<String> = arrays.others.iter().map(|o| format!("`{}`", visible(o))).collect();
            let are = if others.len() == 1 { "is no input" } else { "are no inputs" };
            self.console.note(format!("{} of `{}` {are} of the model", others.join(", "), path.display()));
        }
        for (name, tensor) in arrays.found {
            self.add(&name, tensor)?;
        }
        Ok(())
    }

    fn picture(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.args.picture.image else { return Ok(()) };
        let fits = picture::takes_picture(self.infos, self.args.picture.layout);
        let input = only(self.infos, "--image", "a picture: float of four axes", fits)?;
        let picture = picture::read(path, input, &self.args.picture, self.max_bytes, self.console)
            .with_context(|| format!("`{}`", path.display()))?;
        self.inputs.picture = Some(Seen { input: input.name.clone(), crop: picture.crop, fit: picture.fit });
        self.add(&input.name, picture.tensor)
    }

    fn table(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.args.csv else { return Ok(()) };
        let table = |i: &InputInfo| i.ty.dtype.is_float() && matches!(i.ty.rank(), 1 | 2);
        let input = only(self.infos, "--csv", "a row of features: float of one or two axes", table)?;
        let index = self.args.row.unwrap_or(0);
        let row =
            table::read(path, index, self.max_bytes).with_context(|| format!("`{}`", path.display()))?;
        let count = row.values.len();
        let wanted = input.ty.dim(input.ty.rank() - 1).as_known();
        if let Some(wanted) = wanted.filter(|w| *w != count as i64) {
            return Err(invalid(format!(
                "`{}`: {} expected by input `{}`, found {count}",
                path.display(),
                plural(usize::try_from(wanted).unwrap_or_default(), "column"),
                visible(&input.name)
            )));
        }
        let dims = if input.ty.rank() == 1 { vec![count] } else { vec![1, count] };
        let tensor =
            fit::from_f64(input.ty.dtype, &dims, &row.values).context("the row does not fill its tensor")?;
        self.inputs.features = Some((input.name.clone(), row.features));
        self.add(&input.name, tensor)
    }

    fn text(&mut self) -> anyhow::Result<()> {
        if self.args.text.text.is_empty() {
            return Ok(());
        }
        let (texts, tensors) = text::read(self.infos, &self.args.text, &self.args.model, self.console)?;
        for (name, tensor) in tensors {
            // What is given by name goes before what the text says: another mask, other types.
            if name == texts.input || !self.inputs.tensors.contains_key(&name) {
                self.add(&name, tensor)?;
            }
        }
        self.inputs.texts = Some(texts);
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Inputs> {
        let flags = "`--input NAME=FILE.npy`, `--inputs FILE.npz`, `--image`, `--csv` or `--text`";
        complete(self.infos, &self.inputs.tensors, flags)?;
        self.inputs.tensors = fitted(self.infos, self.inputs.tensors, self.console)?;
        Ok(self.inputs)
    }
}

/// The only input that fits a flag without a name.
fn only<'a>(
    infos: &'a [InputInfo],
    flag: &str,
    what: &str,
    fits: impl Fn(&InputInfo) -> bool,
) -> anyhow::Result<&'a InputInfo> {
    let mut fitting = infos.iter().filter(|i| fits(i));
    match (fitting.next(), fitting.next()) {
        (Some(input), None) => Ok(input),
        (first, _) => {
            let count = if first.is_none() { "no input" } else { "more than one input" };
            let all: Vec<String> = infos.iter().map(|i| format!("`{}` {}", visible(&i.name), i.ty)).collect();
            Err(usage(format!(
                "`{flag}`: the model has {count} that may be {what}; its inputs: {}",
                all.join(", ")
            )))
        }
    }
}

fn unknown(infos: &[InputInfo], name: &str) -> anyhow::Error {
    let known: Vec<String> = infos.iter().map(|i| format!("`{}`", visible(&i.name))).collect();
    usage(format!("the model has no input `{}`; it has {}", visible(name), known.join(", ")))
}

/// Refuses when inputs are missing.
fn complete(infos: &[InputInfo], given: &BTreeMap<String, Tensor>, flags: &str) -> anyhow::Result<()> {
    let missing: Vec<String> = (infos.iter())
        .filter(|i| !given.contains_key(&i.name))
        .map(|i| format!("`{}` {}", visible(&i.name), i.ty))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let s = if missing.len() == 1 { "" } else { "s" };
    Err(usage(format!("missing input{s} {}: give {flags}", missing.join(", "))))
}

/// Fits every tensor to its input.
fn fitted(
    infos: &[InputInfo],
    mut tensors: BTreeMap<String, Tensor>,
    console: Console,
) -> anyhow::Result<BTreeMap<String, Tensor>> {
    let mut bindings = Bindings::new();
    for info in infos {
        if let Some(tensor) = tensors.remove(&info.name) {
            let fitted = fit::fit(info, tensor, &mut bindings, console)?;
            tensors.insert(info.name.clone(), fitted);
        }
    }
    Ok(tensors)
}
