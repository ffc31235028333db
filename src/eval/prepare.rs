//! From files to cases: what is explained of each sample, and what its features are replaced by.

use std::collections::BTreeMap;

use anyhow::Context;
use dlbc_ops::program::{InputInfo, Program};
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Session, SessionOptions, Target};

use super::features::Features;
use super::fill::{Blank, Fill, blank};
use super::mask;
use super::measure::order;
use super::subject::{Case, Model};
use crate::cli::args::EvalArgs;
use crate::cli::device::Opened;
use crate::cli::exit::{unsupported, usage};
use crate::cli::terminal::Console;
use dlbc::input::vocabulary;
use dlbc::input::{self, Source, Texts, from_f64};
use dlbc::wording::{plural, visible};

/// What all methods are measured on.
pub struct Prepared {
    /// The model that answers.
    pub model: Model,
    /// The samples.
    pub cases: Vec<Case>,
    /// What features are replaced by.
    pub fill: Fill,
    /// What features are inserted into.
    pub start: Fill,
    /// Whether the features are floats.
    pub floats: bool,
    /// Whether there is no model to randomise.
    pub artifact: bool,
    /// Name, hash and explained output.
    pub info: dlbc_ops::program::Info,
    /// The backend.
    pub device: &'static str,
}

/// Reads the samples and asks the model about them.
///
/// # Errors
/// For samples that do not fit, a fill that does not suit them, a target that the output has not.
pub fn prepare(
    args: &EvalArgs,
    program: Program,
    artifact: bool,
    device: &Opened,
    options: &SessionOptions,
    console: Console,
) -> anyhow::Result<Prepared> {
    let info = program.info.clone();
    let read = input::samples(&info.inputs, &args.sources(), args.limit, &console)?;
    if let Source::Texts(texts) = &read.source {
        vocabulary::check(&program, texts, &console)?;
    }
    let input = chosen(&info.inputs, &read.source)?;
    if info.inputs.iter().filter(|i| i.explained).count() > 1 {
        console.note(format!(
            "features are those of input `{}`; the others stay as they are",
            visible(&input.name)
        ));
    }
    let session = Session::new(program, device.backend(), options.clone())?;
    let device = session.backend_name();
    let mut model = Model::new(session);
    let values = |name: &str| -> Vec<Vec<f64>> {
        read.samples.iter().filter_map(|s| s.tensors.get(name)).map(Tensor::to_f64).collect()
    };
    let columns = values(&input.name);
    let (means, deviations) = moments(&columns);
    let (fill, start) = fills(args, &read.source, read.samples.len(), input)?;
    let masks = args.mask.as_deref().map(|path| mask::read(path, args.limits.tensor_bytes())).transpose()?;
    let mut cases = vec![];
    for (number, sample) in read.samples.into_iter().enumerate() {
        let tensors = sample.tensors;
        let value = tensors.get(&input.name).with_context(|| format!("input `{}`", input.name))?;
        let features = Features::of(&input.name, value, &read.source, number);
        if features.len() < 2 {
            let (name, count) = (visible(&sample.name), plural(features.len(), "feature"));
            let place = match &read.source {
                Source::Texts(texts) => texts.names[number].clone(),
                _ => format!("sample {number}"),
            };
            console.note(format!("{place} `{name}` is left out: {count}, nothing to compare"));
            continue;
        }
        let position = match args.position {
            Some(position) => position,
            None => last_shown(&tensors, &model.shape(&tensors)?),
        };
        let units = model.units(std::iter::once(tensors.clone()), 1, position)?;
        let units = units.into_iter().next().unwrap_or_default();
        let target = unit(args.target, &units, &info.explained)?;
        let empty = |fill: Fill| match &read.source {
            Source::Texts(texts) => blank_of_text(fill, &tensors, &features, texts),
            _ => blank(fill, &tensors, &features, &means),
        };
        let no_blank =
            || usage(format!("`--baseline {fill}` does not suit input `{}`", visible(&input.name)));
        let masked = masks.as_ref().map(|m| m.of(number, &features, value.elems())).transpose()?;
        cases.push(Case {
            blank: empty(fill).ok_or_else(no_blank)?,
            start: empty(start).ok_or_else(no_blank)?,
            name: sample.name,
            position,
            units,
            target,
            scale: matches!(read.source, Source::Table(_)).then(|| deviations.clone()).flatten(),
            mask: masked,
            features,
            tensors,
        });
    }
    if cases.is_empty() {
        return Err(usage("no sample has two features or more: nothing to compare"));
    }
    model.softmax = !probabilities(&cases);
    Ok(Prepared { model, cases, fill, start, floats: input.ty.dtype.is_float(), artifact, info, device })
}

/// The input whose elements are the features: the one that the source fills, else the first that is explained.
fn chosen<'a>(infos: &'a [InputInfo], source: &Source) -> anyhow::Result<&'a InputInfo> {
    let filled = match source {
        Source::Arrays => None,
        Source::Pictures(name, _) | Source::Table(name) => Some(name),
        Source::Texts(texts) => Some(&texts.input),
    };
    let mut explained = infos.iter().filter(|i| i.explained);
    let found = explained.clone().find(|i| Some(&i.name) == filled).or_else(|| explained.next());
    found.ok_or_else(|| unsupported("no input of the model carries relevance: nothing to evaluate"))
}

/// What features are replaced by and inserted into.
fn fills(
    args: &EvalArgs,
    source: &Source,
    samples: usize,
    input: &InputInfo,
) -> anyhow::Result<(Fill, Fill)> {
    let usual = match source {
        Source::Texts(texts) if texts.mask.is_some() => Fill::Drop,
        Source::Texts(_) => Fill::Pad,
        Source::Table(_) if samples > 1 => Fill::FeatureMean,
        _ => Fill::Black,
    };
    let fill = args.baseline.unwrap_or(usual);
    let texts = matches!(source, Source::Texts(_));
    if texts != fill.is_for_texts() {
        let what = if texts { "texts take drop or pad" } else { "drop and pad are for texts" };
        return Err(usage(format!("`--baseline {fill}`: {what}")));
    }
    if !texts && !input.ty.dtype.is_float() {
        let name = visible(&input.name);
        return Err(unsupported(format!("input `{name}` is {}: give ids as `--text`", input.ty)));
    }
    let picture = input.ty.rank() == 4 && !matches!(source, Source::Table(_));
    Ok((fill, if picture { Fill::Blur } else { fill }))
}

/// Mean and deviation of each element over the samples, where they are of one size; no deviation of a single one.
fn moments(columns: &[Vec<f64>]) -> (Vec<f64>, Option<Vec<f64>>) {
    let Some(first) = columns.first() else { return (vec![], None) };
    let n = columns.len() as f64;
    let mean = |i: usize| columns.iter().map(|c| c.get(i).copied().unwrap_or(0.0)).sum::<f64>() / n;
    let means: Vec<f64> = (0..first.len()).map(mean).collect();
    let deviation = |i: usize| {
        let square = columns.iter().map(|c| (c.get(i).copied().unwrap_or(0.0) - means[i]).powi(2));
        (square.sum::<f64>() / n).sqrt()
    };
    let deviations = (columns.len() > 1).then(|| (0..first.len()).map(deviation).collect());
    (means, deviations)
}

fn blank_of_text(
    fill: Fill,
    tensors: &BTreeMap<String, Tensor>,
    features: &Features,
    texts: &Texts,
) -> Option<Blank> {
    let (input, value) = match fill {
        Fill::Drop => (texts.mask.as_ref()?, 0.0),
        _ => (&texts.input, f64::from(texts.pad)),
    };
    let tensor =
        tensors.get(input).filter(|t| t.elems() == tensors.get(&features.input).map_or(0, Tensor::elems))?;
    let mut values = tensor.to_f64();
    for element in features.elements.iter().flatten() {
        values[*element] = value;
    }
    Some(Blank { input: input.clone(), tensor: from_f64(tensor.dtype(), tensor.dims(), &values)? })
}

/// The last position of the output that the mask shows; without positions or a mask of their number the last.
fn last_shown(tensors: &BTreeMap<String, Tensor>, shape: &[usize]) -> i64 {
    let mask = tensors.get("attention_mask").map(Tensor::to_f64);
    match (shape, mask) {
        ([_, positions, _], Some(mask)) if mask.len() == *positions => {
            mask.iter().rposition(|v| *v != 0.0).map_or(-1, |at| at as i64)
        }
        _ => -1,
    }
}

fn unit(wanted: Target, units: &[f64], output: &str) -> anyhow::Result<usize> {
    let n = units.len() as i64;
    let at = match wanted {
        Target::Index(i) if i < 0 => i + n,
        Target::Index(i) => i,
        _ => order(units, true).first().map_or(-1, |i| *i as i64),
    };
    usize::try_from(at).ok().filter(|i| *i < units.len()).ok_or_else(|| {
        let output = visible(output);
        usage(format!(
            "target {} is out of range for output `{output}` of {}",
            wanted,
            plural(units.len(), "unit")
        ))
    })
}

/// Whether the outputs are probabilities already, or a single value.
fn probabilities(cases: &[Case]) -> bool {
    let sums = |u: &[f64]| u.iter().all(|v| *v >= -1e-6) && (u.iter().sum::<f64>() - 1.0).abs() < 1e-3;
    cases.iter().all(|c| c.units.len() < 2) || cases.iter().all(|c| sums(&c.units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_moments() {
        let units = [0.5, 2.0, 2.0];
        assert_eq!(unit(Target::Argmax, &units, "y").unwrap(), 1);
        assert_eq!(unit(Target::Index(-1), &units, "y").unwrap(), 2);
        assert!(unit(Target::Index(3), &units, "y").is_err() && unit(Target::Argmax, &[], "y").is_err());
        let (means, deviations) = moments(&[vec![1.0, 0.0], vec![3.0, 0.0]]);
        assert_eq!((means, deviations), (vec![2.0, 0.0], Some(vec![1.0, 0.0])));
        assert_eq!(moments(&[vec![1.0]]).1, None);
    }
}
