//! Sessions: run a program, seed its reverse and read the tracks of relevance from the results.

mod load;
mod metadata;
mod positions;
mod stack;

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{AsViews, Backend, BackendError, MemoryReport, Outputs, SessionOptions, Tensors, Views};
use dlbc_ops::program::{InputInfo, Mode, Output, Program, Repeat};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{AtPositions, Explanation, Timings, Track};
use crate::ledger::expert_relevance::experts;
use crate::ledger::requested_outputs;
use crate::plan::executor::{Executor, model_outputs};
use crate::plan::head::Whole;
use crate::plan::wanted::{Wanted, forward_outputs};
use crate::repeat;
use crate::request::{Position, Request, Target};
use crate::seed::contrast;
use crate::seed::{Convention, Seed, seed};
use crate::shapley;
use metadata::outputs;
use stack::{index_first_axis, stack};

pub use metadata::OutputInfo;

/// A program on a backend, ready to run. It is `Send` and `Sync` and every call takes `&self`, so threads can share one session
/// behind an `Arc`.
pub struct Session {
    executor: Executor,
    outputs: Vec<OutputInfo>,
}

impl Session {
    /// Creates a session of a program on a backend.
    ///
    /// # Errors
    /// When the backend cannot run nodes of the program; the error lists all of them.
    pub fn new(
        program: Program,
        backend: Box<dyn Backend>,
        options: SessionOptions,
    ) -> Result<Session, RuntimeError> {
        let outputs = outputs(&program);
        Ok(Session { executor: Executor::new(program, backend, options)?, outputs })
    }

    /// Returns the program.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }

    /// Returns names and types of the model's inputs, in the order of the model file. Dimensions are numbers or symbols.
    pub fn inputs(&self) -> &[InputInfo] {
        &self.program().info.inputs
    }

    /// Returns names and types of the model's outputs, in the order of the model file.
    pub fn outputs(&self) -> &[OutputInfo] {
        &self.outputs
    }

    /// Returns the name of the backend: `cpu`, `cuda` or `reference`.
    pub fn backend_name(&self) -> &'static str {
        self.executor.backend().name()
    }

    /// Runs the model and explains its output.
    ///
    /// A composite that averages several runs ([`Repeat`]) runs the program once for each of them.
    ///
    /// Inputs may borrow the caller's slices as [`TensorView`](dlbc_ops::tensor::TensorView)s, which are read without a
    /// copy of the whole tensor first. For each stage of the program that reads an input, the CPU engine copies it into its
    /// own memory, the CUDA engine uploads float32 directly from the slice and converts other types, and the reference
    /// engine converts it to float64. A composite that averages several runs copies each borrowed input once more.
    ///
    /// # Errors
    /// For inputs that do not fit the model, a target that is out of range, and tensors above
    /// [`SessionOptions::max_tensor_bytes`].
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let model = dlbc_proto::read_model("../fixtures/digits_cnn/model.onnx".as_ref(), &Default::default())?;
    /// # let program = dlbc_compiler::compile(&model, &Default::default())?.program;
    /// # let backend = Box::new(dlbc_runtime::CpuBackend);
    /// # let session = dlbc_runtime::Session::new(program, backend, Default::default())?;
    /// use dlbc_runtime::{Request, TensorView};
    ///
    /// let pixels = vec![0.5f32; 64];
    /// let inputs = [("input", TensorView::new(&[1, 1, 8, 8], &pixels)?)];
    /// let explanation = session.explain(&inputs, &Request::default())?;
    /// println!("{:?}", explanation.supporting.relevance["input"].as_f32());
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain(&self, inputs: &dyn AsViews, request: &Request) -> Result<Explanation, RuntimeError> {
        let mut explanations = self.explain_targets(inputs, &[request.target], request)?;
        explanations.pop().ok_or_else(|| RuntimeError::Targets(vec![]))
    }

    /// Runs the model once and explains its output for several targets, in their order. `request.target` is ignored.
    ///
    /// The targets share the forward and one batched reverse: values that depend on the target have a leading axis of targets,
    /// and values that do not, such as the denominators of the rules, are computed once. When the device's memory does not
    /// hold all targets, several reverses take as many targets as it holds. The timings of each explanation are those of
    /// the whole run.
    ///
    /// # Errors
    /// Those of [`Session::explain`], and an empty list of targets or one with duplicates. [`Request::seed`] takes one target. The tensors of a reverse grow with
    /// the number of targets, so that many targets can exceed [`SessionOptions::max_tensor_bytes`] where one does not.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let model = dlbc_proto::read_model("../fixtures/digits_cnn/model.onnx".as_ref(), &Default::default())?;
    /// # let program = dlbc_compiler::compile(&model, &Default::default())?.program;
    /// # let backend = Box::new(dlbc_runtime::CpuBackend);
    /// # let session = dlbc_runtime::Session::new(program, backend, Default::default())?;
    /// # let digit = dlbc_runtime::Tensor::from_f32(&[1, 1, 8, 8], &[0.5; 64]);
    /// # let inputs = dlbc_runtime::Tensors::from([("input".to_string(), digit)]);
    /// use dlbc_runtime::{Request, Target};
    ///
    /// let targets = [Target::Rank(0), Target::Rank(1), Target::Difference(3, 5)];
    /// for explanation in session.explain_targets(&inputs, &targets, &Request::default())? {
    ///     println!("class {}: {:?}", explanation.targets[0], explanation.supporting.relevance["input"].to_f32());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain_targets(
        &self,
        inputs: &dyn AsViews,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>, RuntimeError> {
        let has_duplicates = targets.iter().enumerate().any(|(i, t)| targets[..i].contains(t));
        if targets.is_empty() || has_duplicates {
            return Err(RuntimeError::Targets(targets.to_vec()));
        }
        if request.seed.is_some() && targets.len() > 1 {
            let (expected, actual) = ("one target".to_string(), targets.len().to_string());
            let output = self.program().info.explained.clone();
            return Err(RuntimeError::Seed { output, expected, actual });
        }
        let inputs = inputs.views();
        let info = &self.program().info;
        if info.explained.is_empty() {
            return Err(RuntimeError::ForwardOnly);
        }
        if request.baseline.is_some() && !matches!(info.repeat, Some(Repeat::IntegratedGradients { .. })) {
            return Err(RuntimeError::NoBaseline { rules: info.rules.clone() });
        }
        if let Some(trees) = &info.trees {
            return shapley::explain(&self.executor, trees, &inputs, targets, request);
        }
        let settings =
            [("background", request.background.is_some()), ("covers of trees", request.path_dependent)];
        if let Some((setting, _)) = settings.into_iter().find(|(_, is_set)| *is_set) {
            return Err(RuntimeError::OnlyForTrees { rules: info.rules.clone(), setting });
        }
        if let Some(repeat) = &info.repeat {
            let explain = |target: &Target| {
                let request = request.clone().target(*target);
                repeat::explain(&self.executor, repeat, &inputs, &request)
            };
            return targets.iter().map(explain).collect();
        }
        let mut batch_size = targets.len();
        loop {
            match self.explain_in_batches(batch_size, &inputs, targets, request) {
                // Halve until the device's memory holds a batch of targets.
                Err(RuntimeError::Backend(BackendError::DeviceMemory(_))) if batch_size > 1 => {
                    batch_size = batch_size.div_ceil(2)
                }
                outcome => return outcome,
            }
        }
    }

    /// Explains targets with reverses that share `batch_size` of them.
    fn explain_in_batches(
        &self,
        batch_size: usize,
        inputs: &Views<'_>,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>, RuntimeError> {
        let info = &self.program().info;
        let run = self.executor.run(request.cancel.as_ref());
        let names = self.wanted_outputs(request)?;
        let dims = self.executor.explained_dims(inputs)?;
        let positions = dims.and_then(|dims| AtPositions::of_request(request, targets, dims));
        let is_whole = request.outputs.as_ref().is_none_or(|names| names.contains(&info.explained));
        let whole = if is_whole { Whole::Computed } else { Whole::Left };
        let wanted = Wanted {
            forward: forward_outputs(self.program(), names.as_deref()),
            reverse: requested_outputs(self.program(), request)?,
            targets: batch_size,
            head: positions.as_ref().map(|_| whole),
        };
        let indices = positions.as_ref().map(AtPositions::indices);
        let mut prepared = self.executor.prepare(inputs, wanted, indices, run)?;
        let positions = positions.filter(|_| prepared.is_restricted());
        let (mut results, state) = prepared.forward()?;
        let convention = Convention::take(info, &mut results);
        let outputs = model_outputs(results);

        let (clock, prepare_before) = (Instant::now(), prepared.prepare);
        let explained =
            outputs.get(&info.explained).ok_or_else(|| BackendError::MissingInput(info.explained.clone()))?;
        // The outputs as a seed sees them: the explained one at the explained positions.
        let mut seed_outputs = outputs.clone();
        let explained = positions.as_ref().map_or_else(|| explained.clone(), |p| p.of_output(explained));
        seed_outputs.insert(info.explained.clone(), explained.clone());
        let requests: Vec<Request> = targets
            .iter()
            .map(|target| request.clone().target(*target))
            .map(|request| if positions.is_some() { request.position(Position::At(0)) } else { request })
            .collect();
        let seeds = requests.iter().map(|request| seed(&info.explained, &seed_outputs, request, &convention));
        let seeds: Vec<Seed> = seeds.collect::<Result<_, _>>().map_err(|e| match &positions {
            Some(positions) => positions.error(e),
            None => e,
        })?;
        let track_seeds: Vec<(Tensor, Option<Tensor>)> = match info.mode {
            Mode::Default => seeds.iter().map(|seed| (seed.tensor.clone(), None)).collect(),
            Mode::Contrastive => {
                let pairs =
                    requests.iter().zip(&seeds).map(|(r, seed)| contrast::tracks(&explained, r, seed));
                pairs.map(|[supporting, opposing]| (supporting, Some(opposing))).collect()
            }
        };
        let reverse_seeds: Vec<Tensor> = track_seeds
            .iter()
            .map(|(supporting, opposing)| match opposing {
                None => supporting.clone(),
                Some(opposing) => stack([supporting, opposing].into_iter()),
            })
            .collect();
        let (mut results, mut state) = (vec![], Some(state));
        for (i, batch) in reverse_seeds.chunks(batch_size).enumerate() {
            let is_last = (i + 1) * batch_size >= reverse_seeds.len();
            let batch_state = if is_last { state.take() } else { state.clone() };
            let Some(batch_state) = batch_state else { break };
            if batch_size == 1 {
                results.push(prepared.reverse(batch_state, &batch[0])?);
                continue;
            }
            // The plan is for `batch_size` targets: pad a smaller batch with its last target.
            let padded = batch.iter().chain(std::iter::repeat(&batch[batch.len() - 1])).take(batch_size);
            let batch_results = prepared.reverse(batch_state, &stack(padded))?;
            let by_target = self.split_by_target(batch_results, batch_size);
            results.extend(by_target.into_iter().take(batch.len()));
        }
        let reverse = clock.elapsed().as_secs_f64() - (prepared.prepare - prepare_before);
        let timings = Timings { prepare: prepared.prepare, forward: prepared.forward, reverse };
        let explanations =
            results.iter().zip(seeds).zip(track_seeds).map(|((results, seed), track_seeds)| {
                let (supporting, opposing) = info.mode.pair();
                let track = |kind, seed: &Tensor| Track::read(info, results, kind, seed, request);
                Explanation {
                    outputs: outputs.clone(),
                    supporting: track(supporting, &track_seeds.0),
                    opposing: opposing.zip(track_seeds.1).map(|(kind, seed)| track(kind, &seed)),
                    argmax: seed.argmax,
                    targets: seed.targets,
                    boxes: seed.boxes,
                    seed: match &positions {
                        Some(positions) if is_whole => positions.seed_of_output(&seed.tensor),
                        _ => seed.tensor,
                    },
                    at_positions: positions.clone().filter(|_| !is_whole),
                    experts: request.experts.then(|| experts(info, results)),
                    timings,
                }
            });
        Ok(explanations.collect())
    }

    /// Returns the names of the outputs that a run computes, `None` for all: those of the request, the explained one, and
    /// those of the request's detector.
    ///
    /// # Errors
    /// For a name that the model does not have.
    fn wanted_outputs<'a>(&'a self, request: &'a Request) -> Result<Option<Vec<&'a str>>, RuntimeError> {
        let info = &self.program().info;
        let Some(outputs) = &request.outputs else { return Ok(None) };
        if let Some(name) = outputs.iter().find(|name| !info.outputs.contains(name)) {
            return Err(RuntimeError::UnknownOutput { name: name.clone(), known: info.outputs.clone() });
        }
        let detector =
            request.detector.iter().flat_map(|d| [&d.scores, &d.boxes].into_iter().chain(&d.labels));
        let names = outputs.iter().chain([&info.explained]).chain(detector);
        Ok(Some(names.map(String::as_str).collect()))
    }

    /// Splits the results of a batched reverse by target. Results without the axis of targets are the same for all.
    fn split_by_target(&self, results: Outputs, targets: usize) -> Vec<Outputs> {
        let unbatched_ranks: BTreeMap<&Output, usize> = {
            let graph = &self.program().graph;
            graph.outputs().iter().map(|(output, v)| (output, graph.ty(*v).rank())).collect()
        };
        let results_of = |target: usize| {
            let slices = results.iter().map(|(name, t)| {
                let is_shared = unbatched_ranks.get(name).is_some_and(|rank| *rank == t.dims().len());
                (name.clone(), if is_shared { t.clone() } else { index_first_axis(t, target) })
            });
            slices.collect()
        };
        (0..targets).map(results_of).collect()
    }

    /// Returns whether the program takes any number of rows: the first axis of every input is the batch, and no other axis
    /// depends on it.
    pub fn takes_rows(&self) -> bool {
        crate::rows::has_free_batch(self.program())
    }

    /// Runs the model without an explanation and returns its outputs by name.
    ///
    /// # Errors
    /// For inputs that do not fit the model and tensors above [`SessionOptions::max_tensor_bytes`].
    pub fn predict(&self, inputs: &dyn AsViews) -> Result<Tensors, RuntimeError> {
        Ok(self.executor.predict(&inputs.views(), self.executor.run(None))?.outputs)
    }

    /// Returns the rows of these inputs as each ensemble of trees reads them, `[row, feature]`; none for a program without trees.
    ///
    /// # Errors
    /// Those of [`Session::predict`].
    pub fn tree_rows(&self, inputs: &dyn AsViews) -> Result<Vec<Tensor>, RuntimeError> {
        match &self.program().info.trees {
            Some(trees) => shapley::tree_rows(&self.executor, trees, &inputs.views()),
            None => Ok(vec![]),
        }
    }

    /// Returns the memory of the plan that ran last and the number of targets that share its reverse; `None` before the first run.
    pub fn memory(&self) -> Option<(MemoryReport, usize)> {
        self.executor.memory()
    }
}
