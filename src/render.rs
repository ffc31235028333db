//! The heat map of a run: which input, what stands above it, where it goes.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::Context;
use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::Explanation;
use image::{ImageFormat, RgbImage};

use crate::args::{RunArgs, Target};
use crate::exit::unsupported;
use crate::heatmap::{MAX_SAMPLES, Subject, draw};
use crate::input::Inputs;
use crate::output::write;
use crate::terminal::{Console, number, visible};
use crate::tokens;

/// A drawn heat map.
pub struct Heatmap {
    path: PathBuf,
    png: Vec<u8>,
}

impl Heatmap {
    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        write(&self.path, |out| Ok(out.write_all(&self.png)?))
    }
}

/// Draws the heat map of an input: the picture, table row or text if there is one, else the first that is explained.
///
/// # Errors
/// When no input is explained.
pub fn heatmap(
    path: &Path,
    info: &Info,
    inputs: &Inputs,
    explanation: &Explanation,
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<Heatmap> {
    let from_file = inputs.picture.as_ref().map(|p| &p.0).or(inputs.features.as_ref().map(|f| &f.0));
    let from_file = from_file.or(inputs.texts.as_ref().map(|t| &t.input));
    let mut explained = info.inputs.iter().filter(|i| explanation.relevance.contains_key(&i.name));
    let chosen = explained.clone().find(|i| Some(&i.name) == from_file).or_else(|| explained.next());
    let name =
        &chosen.ok_or_else(|| unsupported("no input of the model carries relevance: nothing to draw"))?.name;
    let (Some(value), Some(relevance)) = (inputs.tensors.get(name), explanation.relevance.get(name)) else {
        return Err(unsupported(format!("input `{}` has no relevance to draw", visible(name))));
    };
    if info.inputs.iter().filter(|i| i.explained).count() > 1 {
        console.note(format!("the heat map shows input `{}`", visible(name)));
    }
    let batch = if value.dims().len() < 2 { 1 } else { value.dims()[0] };
    if batch > MAX_SAMPLES {
        console.note(format!("the heat map shows the first {MAX_SAMPLES} of {batch} samples"));
    }
    let captions: Vec<String> =
        (0..batch.min(MAX_SAMPLES)).map(|i| caption(i, batch, relevance, explanation, args)).collect();
    let texts = inputs.texts.as_ref().filter(|t| t.input == *name).map(|texts| {
        let rows = tokens::rows(texts, explanation);
        texts.texts.iter().zip(rows).map(|(text, row)| tokens::pieces(text, &row)).collect::<Vec<_>>()
    });
    let image = draw(&Subject {
        texts: texts.as_deref(),
        value,
        relevance,
        captions: &captions,
        picture: inputs.picture.as_ref().filter(|p| p.0 == *name).map(|p| (&p.1, args.picture.layout)),
        features: inputs.features.as_ref().filter(|f| f.0 == *name).map(|f| f.1.as_slice()),
        colors: args.colors,
    });
    Ok(Heatmap { path: path.to_path_buf(), png: png(&image)? })
}

fn caption(
    sample: usize,
    batch: usize,
    relevance: &Tensor,
    explanation: &Explanation,
    args: &RunArgs,
) -> String {
    let target = match (args.target, explanation.targets.get(sample).or(explanation.targets.first())) {
        (Target::Argmax, Some(unit)) => format!("argmax {unit}"),
        (Target::Difference(a, b), _) => format!("{a} minus {b}"),
        (Target::All, _) => "all".into(),
        (_, Some(unit)) => unit.to_string(),
        (target, None) => target.to_string(),
    };
    let size = relevance.elems() / batch.max(1);
    let sum: f64 = relevance.to_f64().iter().skip(sample * size).take(size).sum();
    let sample = if batch > 1 { format!("sample {sample}, ") } else { String::new() };
    format!("{sample}target {target}, sum {}", number(sum, 4))
}

fn png(image: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Cursor::new(vec![]);
    image.write_to(&mut bytes, ImageFormat::Png).context("the heat map cannot be encoded")?;
    Ok(bytes.into_inner())
}
