//! The heat map of a run: which input, what stands above it, where it goes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;

use crate::cli::args::RunArgs;
use crate::cli::exit::unsupported;
use crate::cli::report::charts;
use crate::cli::report::several::DrawingFile;
use crate::cli::terminal::Console;
use dlbc::experts::layers;
use dlbc::explained::Explained;
use dlbc::heatmap::canvas::Canvas;
use dlbc::heatmap::format::DrawingFormat;
use dlbc::heatmap::{Axes, MAX_SAMPLES, MAX_TEXTS, Subject, curves, draw, experts, font, overlay};
use dlbc::input::{Inputs, Seen};
use dlbc::results::write;
use dlbc::scene::Scene;
use dlbc::wording::{number, plural, visible};
use dlbc::{features, tokens};

/// Characters without a glyph that a note names.
const MISSING: usize = 8;

/// A drawn heat map.
pub struct Heatmap {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Heatmap {
    fn new(file: DrawingFile, drawing: &Canvas) -> anyhow::Result<Heatmap> {
        Ok(Heatmap { bytes: file.format.drawing(drawing)?, path: file.path })
    }

    /// Writes it, and its folder where there is none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.path.parent().filter(|p| !p.as_os_str().is_empty() && !p.is_dir()) {
            let doing = || format!("cannot make the folder `{}`", folder.display());
            std::fs::create_dir(folder).with_context(doing)?;
        }
        Ok(write(&self.path, |out| Ok(out.write_all(&self.bytes)?))?)
    }
}

/// Draws the heat map of an input: the picture, table row or text if there is one, else the first that is explained. Of each
/// sample all targets, one below the other; in contrastive mode what supports minus what opposes.
///
/// # Errors
/// When no input is explained.
pub fn heatmap(
    file: DrawingFile,
    info: &Info,
    inputs: &Inputs,
    explained: &[Explained],
    scene: &Scene,
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<Heatmap> {
    if let Some(table) = &inputs.table {
        let drawing = charts::draw(table, info, inputs, explained, args, console);
        note_missing(file.format, console);
        return Heatmap::new(file, &drawing);
    }
    let from_file = inputs.picture.as_ref().map(|p| &p.input).or(inputs.texts.as_ref().map(|t| &t.input));
    let explanation = &explained[0].explanation;
    let mut carrying = info.inputs.iter().filter(|i| explanation.supporting.relevance.contains_key(&i.name));
    let chosen = carrying.clone().find(|i| Some(&i.name) == from_file).or_else(|| carrying.next());
    let name =
        &chosen.ok_or_else(|| unsupported("no input of the model carries relevance: nothing to draw"))?.name;
    let Some(value) = inputs.tensors.get(name) else {
        return Err(unsupported(format!("input `{}` has no relevance to draw", visible(name))));
    };
    if info.inputs.iter().filter(|i| i.explained).count() > 1 {
        console.note(format!("the heat map shows input `{}`", visible(name)));
    }
    // A picture without a batch is a batch of one, and so is a sound in steps that one answer depends on.
    let seen = inputs.picture.as_ref().is_some_and(|p| p.input == *name);
    let alone = value.dims().len() == 3 && (seen || scene.marks(name, &[(0, &explained[0])]).is_some());
    let curves = if alone { None } else { curves(value, explanation.argmax.len()) };
    let batched = |t: &Tensor| match (alone, curves) {
        (true, _) => t.with_dims(&[&[1], t.dims()].concat()),
        (_, Some(dims)) => t.with_dims(&dims),
        _ => None,
    };
    let value = &batched(value).unwrap_or_else(|| value.clone());
    let batch = if value.dims().len() < 2 { 1 } else { value.dims()[0] };
    let texts = inputs.texts.as_ref().filter(|t| t.input == *name);
    let rows = batch * explained.len();
    let shown = rows.min(if texts.is_some() { MAX_TEXTS } else { MAX_SAMPLES });
    if rows > shown {
        let what = match (texts.is_some(), explained.len()) {
            (true, 1) => "texts",
            (true, _) => "texts and targets",
            (false, 1) => "samples",
            (false, _) => "samples and targets",
        };
        console.warn(format!("the heat map shows the first {shown} of {rows} {what}"));
    }
    // Sample by sample, each with all of its targets.
    let pairs: Vec<(usize, &Explained)> =
        (0..batch).flat_map(|sample| explained.iter().map(move |e| (sample, e))).take(shown).collect();
    let values: Vec<(&Tensor, usize)> = pairs.iter().map(|(sample, _)| (value, *sample)).collect();
    let net: Vec<Tensor> = explained.iter().filter_map(|e| e.explanation.net(name)).collect();
    let net: Vec<Tensor> = net.into_iter().map(|t| batched(&t).unwrap_or(t)).collect();
    let marks = scene.marks(name, &pairs);
    let relevance: Vec<(&Tensor, usize)> =
        pairs.iter().zip(net.iter().cycle()).map(|((sample, _), net)| (net, *sample)).collect();
    let (Some(values), Some(relevance)) = (gathered(&values, batch), gathered(&relevance, batch)) else {
        return Err(unsupported(format!("input `{}` has no relevance to draw", visible(name))));
    };
    let own = relevance.to_f64();
    let sums = own.chunks((relevance.elems() / shown.max(1)).max(1)).map(sum_text);
    let mut captions: Vec<String> = pairs
        .iter()
        .zip(sums)
        .map(|((sample, e), sum)| titled(args, pairs.len(), caption(*sample, batch, e, &sum)))
        .collect();
    let texts = texts.map(|texts| {
        let rows: Vec<_> = explained.iter().map(|e| tokens::rows(texts, &e.explanation)).collect();
        let answers = explained.iter().zip(&rows).map(|(e, rows)| tokens::verdicts(texts, e, info, rows));
        let answers: Vec<_> = answers.collect();
        let all = pairs.iter().enumerate().map(|(i, (sample, _))| (i % explained.len(), *sample));
        captions = all
            .clone()
            .map(|(e, i)| titled(args, pairs.len(), text_caption(i, batch, &answers[e][i])))
            .collect();
        let pieces = |(e, i): (usize, usize)| {
            let (text, row) = (&texts.texts[i], &rows[e][i]);
            tokens::pieces(text, &tokens::shown_units(text, row, args.words))
        };
        all.map(pieces).collect::<Vec<_>>()
    });
    let drawing = draw(&Subject {
        texts: texts.as_deref(),
        omitted: rows - shown,
        value: &values,
        relevance: &relevance,
        captions: &captions,
        marks: marks.as_ref().map(|(marks, legend)| (marks.as_slice(), legend.as_str())),
        picture: inputs.picture.as_ref().filter(|p| p.input == *name).map(|p| (&p.crop, p.layout)),
        unsigned: features::is_unsigned(info) && relevance.to_f64().iter().all(|r| *r >= 0.0),
        colors: args.colors,
    });
    note_missing(file.format, console);
    Heatmap::new(file, &drawing)
}

/// Draws the relevance of a target over the picture, at the picture's size; in contrastive mode what supports minus what
/// opposes.
///
/// # Errors
/// When the picture carries no relevance.
pub fn overlay(
    file: DrawingFile,
    seen: &Seen,
    explained: &Explained,
    args: &RunArgs,
) -> anyhow::Result<Heatmap> {
    let nothing = || unsupported(format!("input `{}` has no relevance to draw", visible(&seen.input)));
    let net = explained.explanation.net(&seen.input).ok_or_else(nothing)?;
    let axes = Axes::of(net.dims(), Some(seen.layout)).ok_or_else(nothing)?;
    let relevance = axes.per_pixel(&net.to_f64());
    let map = overlay::Map { relevance: &relevance, fit: seen.fit };
    let image = overlay::draw(&seen.original, &map, args.colors);
    Ok(Heatmap { bytes: file.format.pixels(&image)?, path: file.path })
}

/// Draws what each expert of the first target was given.
///
/// # Errors
/// When the picture cannot be encoded.
pub fn expert_map(
    file: DrawingFile,
    info: &Info,
    explained: &[Explained],
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<Heatmap> {
    if explained.len() > 1 {
        console.note("the picture of experts shows the first target");
    }
    let first = &explained[0];
    let caption =
        format!("{}, {}", info.model, caption(0, 1, first, &sum_text(&[first.explanation.supporting.start])));
    let drawing = experts::draw(&caption, &layers(&first.explanation), args.colors);
    Heatmap::new(file, &drawing)
}

/// Samples of tensors of one type, with an axis of batch in front.
fn gathered(parts: &[(&Tensor, usize)], batch: usize) -> Option<Tensor> {
    let (first, _) = parts.first()?;
    let size = first.bytes().len() / batch.max(1);
    let bytes: Vec<u8> =
        parts.iter().flat_map(|(t, sample)| &t.bytes()[sample * size..][..size]).copied().collect();
    let own = if first.dims().len() < 2 { first.dims() } else { &first.dims()[1..] };
    Tensor::from_bytes(first.dtype(), [&[parts.len()], own].concat(), Arc::new(bytes))
}

/// The sum of a map; an empty map says so.
pub fn sum_text(map: &[f64]) -> String {
    match map.iter().all(|v| *v == 0.0) {
        true => "every relevance is 0".into(),
        false => format!("sum {}", number(map.iter().sum(), 4)),
    }
}

fn text_caption(text: usize, batch: usize, answer: &tokens::Verdict) -> String {
    if batch > 1 { format!("text {text}: {}", answer.line()) } else { answer.line() }
}

/// Says which characters of a drawing no font has. The reader of a vector format has fonts of its own.
fn note_missing(format: DrawingFormat, console: Console) {
    let missing = font::take_missing();
    if missing.is_empty() || format == DrawingFormat::Svg {
        return;
    }
    let shown: Vec<String> =
        missing.iter().take(MISSING).map(|c| format!("`{}`", visible(&c.to_string()))).collect();
    let rest = if missing.len() > MISSING { ", .." } else { "" };
    console.note(format!(
        "no font has a glyph for {} of the picture ({}{rest}), drawn as boxes: install a font that has them, or name a \
         folder of fonts in {}",
        plural(missing.len(), "character"),
        shown.join(", "),
        font::FOLDER
    ));
}

fn caption(sample: usize, batch: usize, explained: &Explained, sum: &str) -> String {
    let target = explained.title(sample);
    let sample = if batch > 1 { format!("sample {sample}, ") } else { String::new() };
    format!("{sample}target {target}, {sum}")
}

/// A caption under the title that was asked for; of a single picture the title alone.
fn titled(args: &RunArgs, pictures: usize, caption: String) -> String {
    match &args.title {
        None => caption,
        Some(title) if pictures == 1 => title.clone(),
        Some(title) => format!("{title}: {caption}"),
    }
}
