//! Sanity checks: dependence of an explanation on small changes of the input, on the explained unit and on the weights.

use std::collections::HashSet;

use dlbc_proto::onnx::{NodeProto, TensorProto};
use dlbc_proto::{DataType, ProtoError, write};
use dlbc_runtime::{OpenDevice, Random, SessionOptions, Tensors};

use super::measure::{change, mean, normalised, similarity};
use super::metric::Metric;
use super::outcome::Outcome;
use super::plan::{Plan, stream};
use super::prepare::Prepared;
use super::subject::{Case, Method};
use crate::error::{Error, Result};
use crate::explainer::Explainer;
use crate::explainer::embeddings::split;
use crate::input::from_f64;
use crate::notes::Notes;
use crate::statistics::{correlation, ranks};

/// Returns the largest relative change of the relevance under uniform noise of every element; `None` for an input that
/// does not hold floats.
///
/// # Errors
/// As [`Method::explain_all`].
pub fn sensitivity(
    method: &Method,
    case: &Case,
    number: usize,
    relevance: &[f64],
    plan: &Plan,
) -> Result<Option<f64>> {
    let Some(tensor) = case.tensors.get(&case.features.input).filter(|t| t.dtype().is_float()) else {
        return Ok(None);
    };
    let values = tensor.to_f64();
    let mut random = Random::new(plan.seed, stream::NOISE + number as u64);
    let noisy = |_| -> Option<Tensors> {
        let moved = |(i, v): (usize, &f64)| {
            let scale = case.scale.as_ref().map_or(1.0, |s| s[i]);
            v + scale * plan.radius * (2.0 * random.unit() - 1.0)
        };
        let moved: Vec<f64> = values.iter().enumerate().map(moved).collect();
        let mut tensors = case.tensors.clone();
        tensors.insert(case.features.input.clone(), from_f64(tensor.dtype(), tensor.dims(), &moved)?);
        Some(tensors)
    };
    let changed = (0..plan.draws).map_while(noisy);
    let maps = method.explain_all(case, changed, stream::CONTROL_NOISE + ((number as u64) << 16))?;
    Ok(Some(maps.iter().map(|m| change(relevance, m)).fold(f64::NAN, f64::max)))
}

/// Returns a random unit other than the target, the same for every method; `None` for an output of one unit.
pub fn other_unit(case: &Case, number: usize, plan: &Plan) -> Option<usize> {
    let others = case.units.len().checked_sub(1).filter(|n| *n > 0)?;
    let chosen = Random::new(plan.seed, stream::OTHER + number as u64).below(others);
    Some(if chosen < case.target { chosen } else { chosen + 1 })
}

/// Returns the structural similarity of the relevance for the target and for another unit, each with a seed of 1.
///
/// # Errors
/// As [`Method::of_unit`].
pub fn random_logit(method: &Method, case: &Case, number: usize, plan: &Plan) -> Result<Option<f64>> {
    let Some(other) = other_unit(case, number, plan) else { return Ok(None) };
    let stream = stream::CONTROL_OTHER + 2 * number as u64;
    let (here, there) =
        (method.of_unit(case, case.target, stream)?, method.of_unit(case, other, stream + 1)?);
    Ok(Some(similarity(&normalised(&here), &normalised(&there))))
}

/// Returns the layers of a model from the output on: the names of the float weights of each node that reads a float weight
/// of two or more axes. A weight that several nodes read belongs to the node nearest to the output.
pub fn layers(model: &dlbc_proto::Model) -> Vec<Vec<String>> {
    let graph = model.graph();
    let float = |t: &TensorProto| {
        let dtype = DataType::from_onnx(t.data_type());
        matches!(dtype, Some(DataType::F32 | DataType::F64 | DataType::F16 | DataType::Bf16))
    };
    let weights: HashSet<&str> = graph.initializer.iter().filter(|t| float(t)).map(|t| t.name()).collect();
    let wide: HashSet<&str> =
        graph.initializer.iter().filter(|t| float(t) && t.dims.len() > 1).map(|t| t.name()).collect();
    let mut seen = HashSet::new();
    let mut layer = |node: &NodeProto| -> Vec<String> {
        if !node.input.iter().any(|i| wide.contains(i.as_str())) {
            return vec![];
        }
        let read = node.input.iter().filter(|i| weights.contains(i.as_str()));
        read.filter(|i| seen.insert(i.to_string())).cloned().collect()
    };
    graph.node.iter().rev().map(&mut layer).filter(|layer| !layer.is_empty()).collect()
}

/// Puts the values of each named weight in a random order. The same seed gives the same order of each weight.
///
/// # Errors
/// When a weight cannot be read.
pub fn randomise(model: &mut dlbc_proto::Model, names: &[String], seed: u64) -> Result<(), ProtoError> {
    let wanted: HashSet<&str> = names.iter().map(String::as_str).collect();
    let list = &model.graph().initializer;
    let selected = list.iter().enumerate().filter(|(_, t)| wanted.contains(t.name()));
    let mut shuffled = vec![];
    for (at, tensor) in selected {
        let data = model.tensor(tensor)?;
        let width = data.dtype.size().unwrap_or(1) as usize;
        let order =
            Random::new(seed, stream::WEIGHTS + at as u64).choose(data.bytes.len() / width, usize::MAX);
        let bytes: Vec<u8> = order.iter().flat_map(|i| &data.bytes[i * width..][..width]).copied().collect();
        shuffled.push((at, write::tensor(tensor.name(), data.dtype, &data.dims, bytes)));
    }
    if let Some(graph) = model.proto.graph.as_mut() {
        for (at, tensor) in shuffled {
            graph.initializer[at] = tensor;
        }
    }
    Ok(())
}

/// Model whose weights are to be randomised, with the composites to explain it.
pub struct Randomised {
    /// ONNX model.
    pub model: dlbc_proto::Model,
    /// Compile options of each composite, in the order of the outcomes; the outcomes of two controls follow them.
    pub composites: Vec<dlbc_compiler::Options>,
    /// Options of the sessions.
    pub options: SessionOptions,
}

/// Randomises weights from the output on, in stages, and records Spearman's correlation of the magnitudes of the relevance
/// with those of the unchanged model.
///
/// # Errors
/// For a model without float weights, and as [`Method::explain`].
pub fn randomisation(
    randomised: Randomised,
    device: &OpenDevice,
    prepared: &Prepared,
    plan: &Plan,
    runs: &mut [Outcome],
    notes: &dyn Notes,
) -> Result<()> {
    let Randomised { model: mut changed, composites, options } = randomised;
    let layers = layers(&changed);
    if layers.is_empty() {
        return Err(Error::unsupported("the model has no float weights to randomise"));
    }
    let stages = plan.stages.min(layers.len());
    let mut done = 0;
    for stage in 0..stages {
        let upto = layers.len() * (stage + 1) / stages;
        randomise(&mut changed, &layers[done..upto].concat(), plan.seed)?;
        done = upto;
        for (run, explain) in runs.iter_mut().zip(composites.iter().map(Some).chain([None, None])) {
            let title = format!("{}: weights of {upto} of {} layers randomised", run.rules, layers.len());
            let _progress = notes.start(&title);
            let method = match explain {
                Some(compile) => {
                    let compiled = dlbc_compiler::compile(&changed, compile)?;
                    let split = split(&mut changed, compile, &compiled)?;
                    let explainer = Explainer::new(compiled.program, split, device, &options)?;
                    Method::composite(explainer, compile.composite()?.quantity)
                }
                None if run.rules == "random" => Method::Random(plan.seed),
                None => Method::Equal,
            };
            let mut similar = vec![];
            for (number, case) in prepared.cases.iter().enumerate() {
                let stream = stream::CONTROL_WEIGHTS + ((number as u64) << 16) + stage as u64;
                let map = method.explain(case, case.target, stream)?;
                let sizes = |v: &[f64]| ranks(&v.iter().map(|r| r.abs()).collect::<Vec<_>>());
                similar.push(correlation(&sizes(&run.maps[number]), &sizes(&map.relevance)));
            }
            run.stages.push(mean(&similar));
            if stage + 1 == stages {
                run.scores.insert(Metric::Randomisation, similar);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> dlbc_proto::Model {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/digits_cnn/model.onnx");
        dlbc_proto::read_model(path.as_ref(), &dlbc_proto::Limits::default()).unwrap()
    }

    #[test]
    fn layers_are_listed_from_the_output_on() {
        let model = digits();
        let layers = layers(&model);
        let last = &model.graph().node.iter().rfind(|n| n.op_type() == "Gemm").unwrap().input;
        assert_eq!(layers[0], last[1..]);
        assert_eq!(layers.len(), 3);
    }

    #[test]
    fn weights_are_permuted_and_nothing_else() {
        let (before, mut after) = (digits(), digits());
        let names = layers(&before)[0].clone();
        randomise(&mut after, &names, 1).unwrap();
        for (a, b) in before.graph().initializer.iter().zip(&after.graph().initializer) {
            let sorted = |m: &dlbc_proto::Model, t| {
                let bytes = m.tensor(t).unwrap().bytes;
                let mut words: Vec<[u8; 4]> = bytes.chunks(4).map(|c| c.try_into().unwrap()).collect();
                words.sort_unstable();
                words
            };
            assert_eq!(sorted(&before, a), sorted(&after, b), "{}", a.name());
            let same = before.tensor(a).unwrap() == after.tensor(b).unwrap();
            assert_eq!(same, !names.iter().any(|n| n == a.name()), "{}", a.name());
        }
    }
}
