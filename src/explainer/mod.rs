//! Explainers: a model with a composite, ready to explain.

pub mod artifact;
mod batch;
mod builder;
pub mod embeddings;
pub mod load;

use std::path::{Path, PathBuf};

use dlbc_artifact::ExportOptions;
use dlbc_ops::program::{Info, InputInfo, Program};
use dlbc_ops::tensor::{Tensor, TensorView};
use dlbc_runtime::{
    AsViews, Detector, Explanation, MemoryReport, OpenDevice, OutputInfo, Request, Session, SessionOptions,
    Target, Tensors, Views, rows,
};

use crate::classes::Classes;
use crate::error::{Error, Result, ResultExt};
use crate::explainer::embeddings::Split;
use crate::input::{Inputs, last_position};
use crate::notes::{Note, Notes};

pub use builder::ExplainerBuilder;

/// Explains one model on one device. Every call takes `&self`, and several threads may call at once.
///
/// It holds one session, or two where the composite moves what token ids look up: the second then looks the ids up first.
pub struct Explainer {
    /// Of the model as its user sees it.
    info: Info,
    session: Session,
    lookup: Option<Lookup>,
    origin: Origin,
}

/// Circumstances of an explainer's construction.
#[derive(Default)]
struct Origin {
    /// File of the model.
    path: Option<PathBuf>,
    /// Notes of reading and compiling.
    notes: Vec<Note>,
    /// Reading of the outputs as boxes.
    detector: Option<Detector>,
    /// Bytes of one tensor at most.
    max_tensor_bytes: u64,
}

struct Lookup {
    session: Session,
    /// Embeddings with the inputs of their ids.
    embeddings: Vec<(String, String)>,
}

impl Explainer {
    /// An explainer of a program; `split` when it takes two.
    ///
    /// # Errors
    /// When the backend cannot run a node.
    pub fn new(
        program: Program,
        split: Option<Split>,
        device: &OpenDevice,
        options: &SessionOptions,
    ) -> Result<Explainer> {
        let info = program.info.clone();
        let (program, lookup) = match split {
            None => (program, None),
            Some(split) => (split.rest, Some((split.lookup, split.embeddings))),
        };
        let session = Session::new(program, device.backend(), options.clone())?;
        let lookup = lookup.map(|(program, embeddings)| -> Result<Lookup> {
            Ok(Lookup { session: Session::new(program, device.backend(), options.clone())?, embeddings })
        });
        Ok(Explainer { info, session, lookup: lookup.transpose()?, origin: Origin::default() })
    }

    fn with_origin(self, origin: Origin) -> Explainer {
        Explainer { origin, ..self }
    }

    /// Returns the inputs of the model.
    pub fn inputs(&self) -> &[InputInfo] {
        &self.info.inputs
    }

    /// Returns the outputs of the model.
    pub fn outputs(&self) -> &[OutputInfo] {
        self.session.outputs()
    }

    /// Returns the notes of reading and compiling: choices that the caller may want otherwise.
    pub fn warnings(&self) -> &[Note] {
        &self.origin.notes
    }

    /// Returns the file of the model, where it is from one.
    pub fn path(&self) -> Option<&Path> {
        self.origin.path.as_deref()
    }

    /// Returns the bytes of one tensor at most.
    pub(crate) fn max_tensor_bytes(&self) -> u64 {
        self.origin.max_tensor_bytes
    }

    /// The program that looks token ids up.
    pub(crate) fn lookup_program(&self) -> &Program {
        self.lookup.as_ref().map_or(&self.session, |lookup| &lookup.session).program()
    }

    /// Returns the names of the classes: those in the model's metadata, or in a `classes.txt` beside it.
    ///
    /// # Errors
    /// For a file that cannot be read.
    pub fn classes(&self) -> Result<Classes> {
        Classes::read(None, &self.info, self.path().unwrap_or(Path::new("")))
    }

    /// Returns the memory of the last run, where the backend knows it.
    pub fn memory(&self) -> Option<MemoryReport> {
        self.session.memory().map(|(report, _)| report)
    }

    /// Writes the compiled program as an artifact, which [`Explainer::from_artifact`] and `dlbc_runtime` read.
    ///
    /// # Errors
    /// For a composite that moves what token ids look up, and when the file cannot be written.
    pub fn save_artifact(&self, path: impl AsRef<Path>) -> Result<()> {
        artifact::write(self.whole()?, path.as_ref())
    }

    /// Writes model and relevance as one plain ONNX model that any runtime executes.
    ///
    /// # Errors
    /// For a composite that moves what token ids look up, and when the file cannot be written.
    pub fn export(&self, path: impl AsRef<Path>, options: &ExportOptions) -> Result<()> {
        artifact::export(self.whole()?, options, path.as_ref())
    }

    /// The program, where it is one.
    fn whole(&self) -> Result<&Program> {
        match &self.lookup {
            None => Ok(self.session.program()),
            Some(_) => Err(Error::unsupported(format!(
                "composite `{}` moves the embeddings of token ids, which an artifact cannot",
                self.info.rules
            ))),
        }
    }

    /// Returns the description of the model: inputs, output, composite.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The backend's name.
    pub fn device(&self) -> &'static str {
        self.session.backend_name()
    }

    /// Says what a run did for want of memory on the device.
    pub fn note_memory(&self, targets: usize, notes: &dyn Notes) {
        let Some((memory, at_once)) = self.session.memory() else { return };
        if memory.segments > 1 {
            notes.note(format!(
                "the device's memory does not hold all that the forward computes: the reverse computes it again, in {} \
                 segments, in {} MiB",
                memory.segments,
                memory.plan_bytes.div_ceil(1 << 20)
            ));
        }
        if at_once < targets {
            notes.note(format!(
                "the device's memory holds {at_once} of {targets} targets at once: they took {} reverses",
                targets.div_ceil(at_once)
            ));
        }
    }

    /// Whether any number of rows may be explained at once.
    pub fn takes_rows(&self) -> bool {
        self.session.takes_rows() && self.lookup.as_ref().is_none_or(|l| l.session.takes_rows())
    }

    /// Runs the model alone: its outputs by name.
    ///
    /// # Errors
    /// For inputs that do not fit, and sizes beyond the limit.
    pub fn predict(&self, inputs: &dyn AsViews) -> Result<Tensors> {
        let inputs = self.moved(inputs.views())?;
        Ok(self.session.predict(&inputs)?)
    }

    /// Runs the model and explains the largest unit of its explained output, of an output with positions at the last one that
    /// the attention mask leaves unmasked.
    ///
    /// # Errors
    /// For inputs that do not fit, and sizes beyond the limit.
    pub fn explain(&self, inputs: &dyn AsViews) -> Result<Explanation> {
        self.explain_with(inputs, &Request::new().position(last_position(&inputs.views())))
    }

    /// Runs the model and explains what a request asks for.
    ///
    /// # Errors
    /// As [`Explainer::explain`], for a target out of range, and a request that does not fit the model.
    pub fn explain_with(&self, inputs: &dyn AsViews, request: &Request) -> Result<Explanation> {
        let explanations = self.explain_targets(inputs, &[request.target], request)?;
        explanations.into_iter().next().context("an explanation")
    }

    /// Runs the model and explains its output for each of several targets: one forward and one batched reverse, or several
    /// reverses where the memory of the device does not hold all targets.
    ///
    /// # Errors
    /// As [`Explainer::explain_with`].
    pub fn explain_targets(
        &self,
        inputs: &dyn AsViews,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>> {
        let inputs = inputs.views();
        let with_detector;
        let request = match (&request.detector, &self.origin.detector) {
            (None, Some(detector)) => {
                with_detector = request.clone().detector(detector.clone());
                &with_detector
            }
            _ => request,
        };
        let moved = self.moved(inputs.clone())?;
        let mut explanations = self.session.explain_targets(&moved, targets, request)?;
        if let Some(lookup) = &self.lookup {
            explanations.iter_mut().for_each(|explanation| lookup.give_back(explanation, &inputs));
        }
        Ok(explanations)
    }

    /// Runs the model on several samples and explains each. Samples of one shape share a run where the model takes any number
    /// of rows and the request asks for the relevance of inputs alone; else they run one after the other.
    ///
    /// # Errors
    /// As [`Explainer::explain_with`].
    pub fn explain_batch(&self, samples: &[Inputs], request: &Request) -> Result<Vec<Explanation>> {
        let tensors: Vec<&Tensors> = samples.iter().map(|sample| &sample.tensors).collect();
        let one_row = tensors.iter().all(|t| t.values().all(|t| t.dims().first() == Some(&1)));
        let stacked = if batch::is_separable(request) && one_row && self.takes_rows() {
            rows::stack(&tensors)
        } else {
            None
        };
        if let (Some(stacked), true) = (stacked, samples.len() > 1) {
            let whole = self.explain_with(&stacked, request)?;
            if let Some(each) = batch::separate(&whole, samples.len()) {
                return Ok(each);
            }
        }
        tensors.into_iter().map(|one| self.explain_with(one, request)).collect()
    }

    /// The inputs of the session: with what ids look up, where that is moved.
    fn moved<'a>(&self, inputs: Views<'a>) -> Result<Views<'a>> {
        let Some(lookup) = &self.lookup else { return Ok(inputs) };
        let embedded = lookup.session.predict(&own(&lookup.session, &inputs))?;
        let mut moved = inputs;
        moved.extend(embedded.into_iter().map(|(name, tensor)| (name, tensor.into())));
        Ok(own(&self.session, &moved))
    }
}

/// Those of the tensors that are inputs of a session.
fn own<'a>(session: &Session, from: &Views<'a>) -> Views<'a> {
    let names = session.program().info.inputs.iter().map(|i| &i.name);
    names.filter_map(|n| Some((n.clone(), from.get(n)?.clone()))).collect()
}

impl Lookup {
    /// Gives the relevance of embeddings to the ids that looked them up.
    fn give_back(&self, explanation: &mut Explanation, inputs: &Views<'_>) {
        for (embedding, ids) in &self.embeddings {
            let (Some(relevance), Some(like)) =
                (explanation.supporting.relevance.remove(embedding), inputs.get(ids))
            else {
                continue;
            };
            explanation.supporting.inputs.remove(embedding);
            let before = explanation.supporting.relevance.remove(ids);
            let sums = per_id(&relevance, like, before.as_ref());
            explanation.supporting.inputs.insert(ids.clone(), sums.to_f64().iter().sum());
            explanation.supporting.relevance.insert(ids.clone(), sums);
        }
    }
}

/// The relevance of each id: the sum over what it looked up, added to `before`.
fn per_id(relevance: &Tensor, ids: &TensorView<'_>, before: Option<&Tensor>) -> Tensor {
    let width = relevance.elems().checked_div(ids.elems()).unwrap_or(0).max(1);
    let before = before.map(Tensor::to_f64).unwrap_or_else(|| vec![0.0; ids.elems()]);
    let values = relevance.to_f64();
    let sums = values
        .chunks(width)
        .zip(before)
        .map(|(looked_up, before)| (looked_up.iter().sum::<f64>() + before) as f32);
    Tensor::from_f32(ids.dims(), &sums.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_get_what_they_looked_up() {
        let relevance = Tensor::from_f32(&[1, 2, 3], &[1.0, 2.0, 3.0, -1.0, 0.0, 0.5]);
        let ids = Tensor::from_i64(&[1, 2], &[7, 7]);
        let once = per_id(&relevance, &ids.view(), None);
        assert_eq!((once.dims(), once.to_f32()), (&[1, 2][..], vec![6.0, -0.5]));
        assert_eq!(per_id(&relevance, &ids.view(), Some(&once)).to_f32(), [12.0, -1.0]);
    }
}
