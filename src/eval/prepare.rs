//! Preparation of the cases of an evaluation from files: features, target and blank of each sample.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dlbc_ops::program::{InputInfo, Program};
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Backend, Session, SessionOptions, Target};

use super::features::Features;
use super::fill::{Blank, Fill, blank};
use super::mask;
use super::measure::{Order, order};
use super::subject::{Case, Model};
use crate::error::{Error, Result, ResultExt};
use crate::input::vocabulary;
use crate::input::{self, Source, Sources, Texts, from_f64};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::{plural, visible};

/// Options for the samples of an evaluation and the explained unit.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// Files of the samples.
    pub sources: Sources,
    /// Largest number of samples.
    pub limit: usize,
    /// File of the evidence: an .npz with one array, or a black and white picture.
    pub mask: Option<PathBuf>,
    /// Replacement of features; the default depends on the kind of samples.
    pub fill: Option<Fill>,
    /// Explained unit: the largest of each sample, or an index.
    pub target: Target,
    /// Sequence position of the target; by default the last that the mask leaves unmasked.
    pub position: Option<i64>,
}

/// Model and cases that all methods are measured on.
pub struct Prepared {
    /// Model that answers.
    pub model: Model,
    /// Samples of at least two features.
    pub cases: Vec<Case>,
    /// Replacement of features in the curves.
    pub fill: Fill,
    /// Fill of the empty input that features are inserted into.
    pub start: Fill,
    /// True if the features are floats.
    pub floats: bool,
    /// True if the program is an artifact, which has no model whose weights could be randomised.
    pub artifact: bool,
    /// Description of the program: names, hashes and explained output.
    pub info: dlbc_ops::program::Info,
    /// Name of the backend.
    pub device: &'static str,
}

/// Reads the samples and runs the model on them.
///
/// # Errors
/// For samples that do not fit the model, a fill that does not apply to them, and a target out of range.
pub fn prepare(
    prepare: &PrepareOptions,
    program: Program,
    artifact: bool,
    backend: Box<dyn Backend>,
    options: &SessionOptions,
    notes: &dyn Notes,
) -> Result<Prepared> {
    let info = program.info.clone();
    let read = input::samples(&info.inputs, &prepare.sources, prepare.limit, notes)?;
    if let Source::Texts(texts) = &read.source {
        vocabulary::check(&program, texts, notes)?;
    }
    let input = chosen(&info.inputs, &read.source)?;
    if info.inputs.iter().filter(|i| i.explained).count() > 1 {
        notes.note(format!(
            "features are those of input `{}`; the others stay as they are",
            visible(&input.name)
        ));
    }
    let session = Session::new(program, backend, options.clone())?;
    let device = session.backend_name();
    let mut model = Model::new(session);
    let values = |name: &str| -> Vec<Vec<f64>> {
        read.samples.iter().filter_map(|s| s.tensors.get(name)).map(Tensor::to_f64).collect()
    };
    let columns = values(&input.name);
    let (means, deviations) = moments(&columns);
    let (fill, start) = fills(prepare.fill, &read.source, read.samples.len(), input)?;
    let masks =
        prepare.mask.as_deref().map(|path| mask::read(path, prepare.sources.max_tensor_bytes)).transpose()?;
    let mut cases = vec![];
    for (number, sample) in read.samples.into_iter().enumerate() {
        let tensors = sample.tensors;
        let value = tensors.get(&input.name).with_context(|| format!("input `{}`", input.name))?;
        let features = Features::of(&input.name, value, &read.source, number);
        if features.count() < 2 {
            let (name, count) = (visible(&sample.name), plural(features.count(), "feature"));
            let title = match &read.source {
                Source::Texts(texts) => texts.names[number].clone(),
                _ => format!("sample {number}"),
            };
            notes.note(format!("{title} `{name}` is left out: {count}, nothing to compare"));
            continue;
        }
        let position = match prepare.position {
            Some(position) => position,
            None => last_unmasked(&tensors, &model.shape(&tensors)?),
        };
        let units = model.units(std::iter::once(tensors.clone()), 1, position)?;
        let units = units.into_iter().next().unwrap_or_default();
        let target = unit(prepare.target, &units, &info.explained)?;
        let empty = |fill: Fill| match &read.source {
            Source::Texts(texts) => blank_of_text(fill, &tensors, &features, texts),
            _ => blank(fill, &tensors, &features, &means),
        };
        let no_blank =
            || Error::usage(format!("baseline {fill} does not fit input `{}`", visible(&input.name)));
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
        return Err(Error::usage("nothing to compare: expected a sample of at least two features"));
    }
    model.softmax = !probabilities(&cases);
    Ok(Prepared { model, cases, fill, start, floats: input.ty.dtype.is_float(), artifact, info, device })
}

/// Returns the input whose elements are the features: the one that the source fills, else the first explained input.
fn chosen<'a>(infos: &'a [InputInfo], source: &Source) -> Result<&'a InputInfo> {
    let filled = match source {
        Source::Arrays => None,
        Source::Pictures(name, _) | Source::Table(name) => Some(name),
        Source::Texts(texts) => Some(&texts.input),
    };
    let mut explained = infos.iter().filter(|i| i.explained);
    let input = explained.clone().find(|i| Some(&i.name) == filled).or_else(|| explained.next());
    input.ok_or_else(|| Error::unsupported("nothing to evaluate: no input of the model carries relevance"))
}

/// Returns the replacement of features, and the fill of the empty input that they are inserted into.
fn fills(fill: Option<Fill>, source: &Source, samples: usize, input: &InputInfo) -> Result<(Fill, Fill)> {
    let usual = match source {
        Source::Texts(texts) if texts.mask.is_some() => Fill::Drop,
        Source::Texts(_) => Fill::Pad,
        Source::Table(_) if samples > 1 => Fill::FeatureMean,
        _ => Fill::Black,
    };
    let fill = fill.unwrap_or(usual);
    let texts = matches!(source, Source::Texts(_));
    if texts != fill.is_for_texts() {
        let message = match texts {
            true => format!("invalid baseline {fill} for texts: expected drop or pad"),
            false => format!("baseline {fill} applies to texts only"),
        };
        return Err(Error::usage(message));
    }
    if !texts && !input.ty.dtype.is_float() {
        let name = visible(&input.name);
        let message = format!("input `{name}` {} cannot be changed: expected floats or texts", input.ty);
        return Err(Error::unsupported(message).with_remedy(Remedy::Texts));
    }
    let picture = input.ty.rank() == 4 && !matches!(source, Source::Table(_));
    Ok((fill, if picture { Fill::Blur } else { fill }))
}

/// Returns mean and standard deviation of each element over the samples; a single sample has no deviation.
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

/// Returns the last unmasked position of the output; -1, the last, if the output has no positions or the mask another
/// number of them.
fn last_unmasked(tensors: &BTreeMap<String, Tensor>, shape: &[usize]) -> i64 {
    let mask = tensors.get("attention_mask").map(Tensor::to_f64);
    match (shape, mask) {
        ([_, positions, _], Some(mask)) if mask.len() == *positions => {
            mask.iter().rposition(|v| *v != 0.0).map_or(-1, |at| at as i64)
        }
        _ => -1,
    }
}

fn unit(wanted: Target, units: &[f64], output: &str) -> Result<usize> {
    let n = units.len() as i64;
    let at = match wanted {
        Target::Index(i) if i < 0 => i + n,
        Target::Index(i) => i,
        _ => order(units, Order::Descending).first().map_or(-1, |i| *i as i64),
    };
    usize::try_from(at).ok().filter(|i| *i < units.len()).ok_or_else(|| {
        let output = visible(output);
        Error::usage(format!(
            "target {wanted} is out of range for output `{output}`: expected a unit of {}",
            units.len()
        ))
    })
}

/// Returns whether the outputs are probabilities already, or a single value.
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
