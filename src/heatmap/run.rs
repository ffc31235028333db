//! Heat map of a run: choice of the input, and captions of its samples.

use std::sync::Arc;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{BoxSelector, BoxTarget, Explanation, Target};

use super::canvas::Canvas;
use super::caption::{HeatmapOptions, caption, sum_text, text_caption, titled};
use super::{MAX_SAMPLES, MAX_TEXTS, Subject, curves, draw, table};
use crate::error::{Error, Result};
use crate::explained::Explained;
use crate::explainer::Explainer;
use crate::features;
use crate::input::Inputs;
use crate::notes::{Notes, Silent};
use crate::scene::Scene;
use crate::target::NamedTarget;
use crate::tokens;
use crate::wording::visible;

/// Draws the heat map of an explanation with default options: [`Canvas::save`] writes it.
///
/// # Errors
/// When no input of the model carries relevance.
///
/// # Examples
///
/// ```
/// use dlbc::{Explainer, Inputs, PictureOptions, heatmap};
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/digits_cnn");
/// # let (model, digit) = (format!("{folder}/model.onnx"), format!("{folder}/digit.png"));
/// let explainer = Explainer::from_onnx(model).build()?;
/// let inputs = Inputs::for_model(&explainer).picture(digit, PictureOptions::default()).build()?;
/// let drawing = heatmap::render(&explainer, &inputs, &explainer.explain(&inputs)?)?;
/// assert!(drawing.image.width() > 100);
/// # Ok::<(), dlbc::Error>(())
/// ```
pub fn render(explainer: &Explainer, inputs: &Inputs, explanation: &Explanation) -> Result<Canvas> {
    let info = explainer.info();
    let (target, classes) = (named(explanation), explainer.classes()?);
    let explained = Explained { target, explanation: explanation.clone(), classes };
    heatmap(info, inputs, &[explained], &Scene::default(), &HeatmapOptions::default(), &Silent)
}

/// Derives the target of an explanation from its units.
fn named(explanation: &Explanation) -> NamedTarget {
    let units = &explanation.targets;
    let target = match (explanation.boxes.first(), units.first()) {
        (Some(detected), _) => {
            let selector = BoxSelector::Index(detected.index);
            Target::Box(BoxTarget { selector, class: None, coordinate: None })
        }
        (None, Some(_)) if *units == explanation.argmax => Target::Argmax,
        (None, Some(unit)) => Target::Index(*unit),
        (None, None) => Target::All,
    };
    NamedTarget { name: target.to_string(), target }
}

/// Draws the heat map of an input: the picture, table row or text if there is one, else the first explained input. Each
/// sample shows all targets, one below the other; in contrastive mode supporting minus opposing relevance.
///
/// # Errors
/// When no input is explained.
pub fn heatmap(
    info: &Info,
    inputs: &Inputs,
    explained: &[Explained],
    scene: &Scene,
    options: &HeatmapOptions,
    notes: &dyn Notes,
) -> Result<Canvas> {
    if let Some(table) = &inputs.table {
        return Ok(table::draw(table, info, inputs, explained, options, notes));
    }
    let from_file = inputs.picture.as_ref().map(|p| &p.input).or(inputs.texts.as_ref().map(|t| &t.input));
    let explanation = &explained[0].explanation;
    let mut carrying = info.inputs.iter().filter(|i| explanation.supporting.relevance.contains_key(&i.name));
    let chosen = carrying.clone().find(|i| Some(&i.name) == from_file).or_else(|| carrying.next());
    let name = &chosen
        .ok_or_else(|| Error::unsupported("nothing to draw: no input of the model carries relevance"))?
        .name;
    let Some(value) = inputs.tensors.get(name) else {
        return Err(Error::unsupported(format!("input `{}` has no relevance to draw", visible(name))));
    };
    if info.inputs.iter().filter(|i| i.explained).count() > 1 {
        notes.note(format!("the heat map shows input `{}`", visible(name)));
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
        notes.warn(format!("the heat map shows the first {shown} of {rows} {what}"));
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
        return Err(Error::unsupported(format!("input `{}` has no relevance to draw", visible(name))));
    };
    let elements = relevance.to_f64();
    let sums = elements.chunks((relevance.elems() / shown.max(1)).max(1)).map(sum_text);
    let mut captions: Vec<String> = pairs
        .iter()
        .zip(sums)
        .map(|((sample, e), sum)| titled(options, pairs.len(), caption(*sample, batch, e, &sum)))
        .collect();
    let texts = texts.map(|texts| {
        let rows: Vec<_> = explained.iter().map(|e| tokens::rows(texts, &e.explanation)).collect();
        let answers = explained.iter().zip(&rows).map(|(e, rows)| tokens::verdicts(texts, e, info, rows));
        let answers: Vec<_> = answers.collect();
        let all = pairs.iter().enumerate().map(|(i, (sample, _))| (i % explained.len(), *sample));
        captions = all
            .clone()
            .map(|(e, i)| titled(options, pairs.len(), text_caption(i, batch, &answers[e][i])))
            .collect();
        let pieces = |(e, i): (usize, usize)| {
            let (text, row) = (&texts.texts[i], &rows[e][i]);
            tokens::pieces(text, &tokens::shown_units(text, row, options.words))
        };
        all.map(pieces).collect::<Vec<_>>()
    });
    Ok(draw(&Subject {
        texts: texts.as_deref(),
        omitted: rows - shown,
        value: &values,
        relevance: &relevance,
        captions: &captions,
        marks: marks.as_ref().map(|(marks, legend)| (marks.as_slice(), legend.as_str())),
        picture: inputs.picture.as_ref().filter(|p| p.input == *name).map(|p| (&p.crop, p.layout)),
        unsigned: features::is_unsigned(info) && relevance.to_f64().iter().all(|r| *r >= 0.0),
        colors: options.colors,
    }))
}

/// Gathers samples of tensors of one type along a batch axis in front.
fn gathered(parts: &[(&Tensor, usize)], batch: usize) -> Option<Tensor> {
    let (first, _) = parts.first()?;
    let size = first.bytes().len() / batch.max(1);
    let bytes: Vec<u8> =
        parts.iter().flat_map(|(t, sample)| &t.bytes()[sample * size..][..size]).copied().collect();
    let sample_dims = if first.dims().len() < 2 { first.dims() } else { &first.dims()[1..] };
    Tensor::from_bytes(first.dtype(), [&[parts.len()], sample_dims].concat(), Arc::new(bytes))
}
