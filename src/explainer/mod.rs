//! Explainers: compiled models on a device.

pub mod artifact;
mod batch;
mod builder;
pub mod embeddings;
pub mod load;
pub mod trees;

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
use crate::input::{Inputs, last_unmasked_position};
use crate::notes::{Note, Notes};

pub use builder::ExplainerBuilder;

/// Explains the outputs of one model on one device. Every call takes `&self`, so threads can share one explainer.
///
/// For a composite that perturbs the embeddings of token ids it holds two sessions: one computes the embeddings, the other
/// explains the outputs by them.
pub struct Explainer {
    /// Description of the whole model.
    info: Info,
    session: Session,
    lookup: Option<Lookup>,
    origin: Origin,
}

/// The settings and circumstances of an explainer's construction.
#[derive(Default)]
struct Origin {
    /// Path of the model file; `None` for a model from memory.
    path: Option<PathBuf>,
    /// Notes of reading and compiling.
    notes: Vec<Note>,
    /// Outputs and layout of the boxes, for a detector.
    detector: Option<Detector>,
    /// Largest size of a tensor, in bytes.
    max_tensor_bytes: u64,
}

/// The session that computes embeddings of token ids.
struct Lookup {
    session: Session,
    /// Names of the embeddings, each with the input of its ids.
    embeddings: Vec<(String, String)>,
}

impl Explainer {
    /// Creates an explainer of a program. `split` has its two parts if the composite perturbs embeddings.
    ///
    /// # Errors
    /// When the backend cannot run nodes of the program.
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

    /// Returns the notes of reading and compiling: warnings, and choices that the caller may want to override.
    pub fn warnings(&self) -> &[Note] {
        &self.origin.notes
    }

    /// Returns the path of the model file; `None` for a model from memory.
    pub fn path(&self) -> Option<&Path> {
        self.origin.path.as_deref()
    }

    /// Returns the largest size of a tensor, in bytes.
    pub(crate) fn max_tensor_bytes(&self) -> u64 {
        self.origin.max_tensor_bytes
    }

    /// Returns the program that reads the token ids.
    pub(crate) fn lookup_program(&self) -> &Program {
        self.lookup.as_ref().map_or(&self.session, |lookup| &lookup.session).program()
    }

    /// Returns the names of the classes, from the model's metadata or a `classes.txt` beside the model file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn classes(&self) -> Result<Classes> {
        Classes::read(None, &self.info, self.path().unwrap_or(Path::new("")))
    }

    /// Returns the memory of the plan that ran last; `None` before the first run.
    pub fn memory(&self) -> Option<MemoryReport> {
        self.session.memory().map(|(report, _)| report)
    }

    /// Writes the compiled program as an artifact, which [`Explainer::from_artifact`] and `dlbc_runtime` read.
    ///
    /// # Errors
    /// When the composite perturbs the embeddings of token ids, or the file cannot be written.
    pub fn save_artifact(&self, path: impl AsRef<Path>) -> Result<()> {
        artifact::write(self.single_program()?, path.as_ref())
    }

    /// Writes model and relevance as one plain ONNX model that any runtime executes.
    ///
    /// # Errors
    /// When the composite perturbs the embeddings of token ids, or the file cannot be written.
    pub fn export(&self, path: impl AsRef<Path>, options: &ExportOptions) -> Result<()> {
        artifact::export(self.single_program()?, options, path.as_ref())
    }

    /// Returns the program of an explainer with a single session.
    fn single_program(&self) -> Result<&Program> {
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

    /// Returns the name of the backend: `cpu`, `cuda` or `reference`.
    pub fn device(&self) -> &'static str {
        self.session.backend_name()
    }

    /// Notes what the last run had to recompute or split because of the device's memory.
    pub fn note_memory(&self, targets: usize, notes: &dyn Notes) {
        let Some((memory, batch_size)) = self.session.memory() else { return };
        if memory.segments > 1 {
            notes.note(format!(
                "the device's memory does not hold all that the forward computes: the reverse computes it again, in {} \
                 segments, in {} MiB",
                memory.segments,
                memory.plan_bytes.div_ceil(1 << 20)
            ));
        }
        if memory.spilled_kernels > 0 {
            notes.note(format!(
                "the driver keeps registers of {} kernels in memory: they run slower than they could",
                memory.spilled_kernels
            ));
        }
        if batch_size < targets {
            notes.note(format!(
                "the device's memory holds {batch_size} of {targets} targets at once: they took {} reverses",
                targets.div_ceil(batch_size)
            ));
        }
    }

    /// Returns whether the model takes any number of rows: the first axis of every input is the batch.
    pub fn takes_rows(&self) -> bool {
        self.session.takes_rows() && self.lookup.as_ref().is_none_or(|l| l.session.takes_rows())
    }

    /// Runs the model without an explanation and returns its outputs by name.
    ///
    /// # Errors
    /// When the inputs do not fit the model, or a tensor is above the size limit.
    pub fn predict(&self, inputs: &dyn AsViews) -> Result<Tensors> {
        let inputs = self.session_inputs(inputs.views())?;
        Ok(self.session.predict(&inputs)?)
    }

    /// Returns a request whose explanations hold the explained output at the explained positions alone, if each row has one: a
    /// language model's head is then computed for these. All other outputs are whole.
    pub fn on_demand(&self, request: Request) -> Request {
        let outputs = &self.session.program().info.outputs;
        let explained = &self.session.program().info.explained;
        request.outputs(outputs.iter().filter(|name| *name != explained).cloned())
    }

    /// Runs the model and explains the largest unit of the explained output. For an output with positions it is the unit at the last
    /// unmasked position, and the explanation holds the output there alone ([`Explanation::at_positions`]);
    /// [`Explainer::explain_with`] returns it whole.
    ///
    /// # Errors
    /// When the inputs do not fit the model, or a tensor is above the size limit.
    pub fn explain(&self, inputs: &dyn AsViews) -> Result<Explanation> {
        let request = Request::new().position(last_unmasked_position(&inputs.views()));
        self.explain_with(inputs, &self.on_demand(request))
    }

    /// Runs the model and explains the target of a request.
    ///
    /// # Errors
    /// Those of [`Explainer::explain`]; when the target is out of range or the request does not fit the model.
    pub fn explain_with(&self, inputs: &dyn AsViews, request: &Request) -> Result<Explanation> {
        let explanations = self.explain_targets(inputs, &[request.target], request)?;
        explanations.into_iter().next().context("an explanation")
    }

    /// Runs the model and explains several targets, in their order, with one forward and one batched reverse, or several reverses
    /// when the device's memory does not hold all targets. `request.target` is ignored.
    ///
    /// # Errors
    /// Those of [`Explainer::explain_with`]; when the list of targets is empty or has duplicates.
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
        let session_inputs = self.session_inputs(inputs.clone())?;
        let mut explanations = self.session.explain_targets(&session_inputs, targets, request)?;
        if let Some(lookup) = &self.lookup {
            explanations.iter_mut().for_each(|explanation| lookup.assign_to_ids(explanation, &inputs));
        }
        Ok(explanations)
    }

    /// Runs the model on several samples and explains each. Samples of one shape share a run if the model takes any number of
    /// rows and the request asks only for the relevance of inputs; else they run one after the other.
    ///
    /// # Errors
    /// Those of [`Explainer::explain_with`].
    pub fn explain_batch(&self, samples: &[Inputs], request: &Request) -> Result<Vec<Explanation>> {
        let tensors: Vec<&Tensors> = samples.iter().map(|sample| &sample.tensors).collect();
        let are_single_rows = tensors.iter().all(|t| t.values().all(|t| t.dims().first() == Some(&1)));
        let stacked = if batch::is_separable(request) && are_single_rows && self.takes_rows() {
            rows::stack(&tensors)
        } else {
            None
        };
        if let (Some(stacked), true) = (stacked, samples.len() > 1) {
            let batch = self.explain_with(&stacked, request)?;
            if let Some(explanations) = batch::separate(&batch, samples.len()) {
                return Ok(explanations);
            }
        }
        tensors.into_iter().map(|sample| self.explain_with(sample, request)).collect()
    }

    /// Returns the inputs of the explaining session: the model's inputs, or embeddings in place of token ids.
    fn session_inputs<'a>(&self, inputs: Views<'a>) -> Result<Views<'a>> {
        let Some(lookup) = &self.lookup else { return Ok(inputs) };
        let embeddings = lookup.session.predict(&inputs_of(&lookup.session, &inputs))?;
        let mut tensors = inputs;
        tensors.extend(embeddings.into_iter().map(|(name, tensor)| (name, tensor.into())));
        Ok(inputs_of(&self.session, &tensors))
    }
}

/// Selects the tensors that are inputs of a session.
fn inputs_of<'a>(session: &Session, from: &Views<'a>) -> Views<'a> {
    let names = session.program().info.inputs.iter().map(|i| &i.name);
    names.filter_map(|n| Some((n.clone(), from.get(n)?.clone()))).collect()
}

impl Lookup {
    /// Assigns the relevance of embeddings to their token ids.
    fn assign_to_ids(&self, explanation: &mut Explanation, inputs: &Views<'_>) {
        for (embedding, ids) in &self.embeddings {
            let (Some(relevance), Some(like)) =
                (explanation.supporting.relevance.remove(embedding), inputs.get(ids))
            else {
                continue;
            };
            let track = &mut explanation.supporting;
            track.input_sums.remove(embedding);
            let before = track.relevance.remove(ids);
            let relevance = relevance_per_id(&relevance, like, before.as_ref());
            track.input_sums.insert(ids.clone(), relevance.to_f64().iter().sum());
            track.relevance.insert(ids.clone(), relevance);
        }
    }
}

/// Returns the relevance of each id: the sum over its embedding, added to `before`.
fn relevance_per_id(relevance: &Tensor, ids: &TensorView<'_>, before: Option<&Tensor>) -> Tensor {
    let width = relevance.elems().checked_div(ids.elems()).unwrap_or(0).max(1);
    let before = before.map(Tensor::to_f64).unwrap_or_else(|| vec![0.0; ids.elems()]);
    let values = relevance.to_f64();
    let rows = values.chunks(width).zip(before);
    let sums = rows.map(|(embedding, before)| (embedding.iter().sum::<f64>() + before) as f32);
    Tensor::from_f32(ids.dims(), &sums.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_get_the_relevance_of_their_embeddings() {
        let relevance = Tensor::from_f32(&[1, 2, 3], &[1.0, 2.0, 3.0, -1.0, 0.0, 0.5]);
        let ids = Tensor::from_i64(&[1, 2], &[7, 7]);
        let once = relevance_per_id(&relevance, &ids.view(), None);
        assert_eq!((once.dims(), once.to_f32()), (&[1, 2][..], vec![6.0, -0.5]));
        assert_eq!(relevance_per_id(&relevance, &ids.view(), Some(&once)).to_f32(), [12.0, -1.0]);
    }
}
