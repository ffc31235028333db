//! Explanations of a program: seeds the reverse and reads the tracks of relevance from its results.

mod load;
mod metadata;
mod stack;

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{AsViews, Backend, BackendError, MemoryReport, Outputs, SessionOptions, Tensors, Views};
use dlbc_ops::program::{InputInfo, Mode, Output, Program, Repeat};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{Explanation, Timings, Track};
use crate::ledger::expert_relevance::experts;
use crate::ledger::wanted;
use crate::plan::executor::{Executor, model_outputs};
use crate::repeat;
use crate::request::{Request, Target};
use crate::seed::contrast;
use crate::seed::{Convention, Seed, seed};
use metadata::outputs;
use stack::{part, stacked};

pub use metadata::OutputInfo;

/// A program ready to run. `Send` and `Sync`; every call takes `&self`, so threads share one behind an `Arc`.
pub struct Session {
    executor: Executor,
    outputs: Vec<OutputInfo>,
}

impl Session {
    /// A session of a program.
    ///
    /// # Errors
    /// When the backend cannot run one of its nodes: lists them all.
    pub fn new(
        program: Program,
        backend: Box<dyn Backend>,
        options: SessionOptions,
    ) -> Result<Session, RuntimeError> {
        let outputs = outputs(&program);
        Ok(Session { executor: Executor::new(program, backend, options)?, outputs })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }

    /// The model's inputs, in order: names, types, and dimensions, known or symbolic.
    pub fn inputs(&self) -> &[InputInfo] {
        &self.program().info.inputs
    }

    /// The model's outputs, in order.
    pub fn outputs(&self) -> &[OutputInfo] {
        &self.outputs
    }

    /// The backend's name.
    pub fn backend_name(&self) -> &'static str {
        self.executor.backend().name()
    }

    /// Runs the model and explains its output.
    ///
    /// A composite that repeats its program ([`Repeat`]) runs it as often as it says.
    ///
    /// Inputs may be borrowed from slices of the caller's, as a [`TensorView`](dlbc_ops::tensor::TensorView): the session reads
    /// them where they lie. For each stage of the program that reads an input, the CPU engine copies it into memory of its own,
    /// the CUDA engine uploads float32 from where it lies and converts other types, and the reference engine converts it to
    /// float64. A composite that repeats its program copies each borrowed input once more.
    ///
    /// # Errors
    /// For inputs that do not fit, a target out of range, sizes beyond the limit.
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
        let mut made = self.explain_targets(inputs, &[request.target], request)?;
        made.pop().ok_or_else(|| RuntimeError::Targets(vec![]))
    }

    /// Runs the model once and explains its output for each of several targets; `request.target` does not count.
    ///
    /// The targets share the forward, and one reverse in which what depends on the target has a leading axis; what does
    /// not, such as the sums of contributions that relevance is divided by, is computed once. Where the device's memory does
    /// not hold them all, they take several reverses of as many as it holds. The seconds of each explanation are those of
    /// the whole run.
    ///
    /// # Errors
    /// As [`Session::explain`], and for no targets or one that is named twice. The tensors of a reverse grow with the
    /// number of targets, and so does what [`SessionOptions::max_tensor_bytes`] limits.
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
        let twice = targets.iter().enumerate().any(|(i, t)| targets[..i].contains(t));
        if targets.is_empty() || twice {
            return Err(RuntimeError::Targets(targets.to_vec()));
        }
        let inputs = inputs.views();
        let info = &self.program().info;
        if request.baseline.is_some() && !matches!(info.repeat, Some(Repeat::IntegratedGradients { .. })) {
            return Err(RuntimeError::NoBaseline { rules: info.rules.clone() });
        }
        if let Some(repeat) = &info.repeat {
            let one = |target: &Target| {
                let request = request.clone().target(*target);
                repeat::explain(&self.executor, repeat, &inputs, &request)
            };
            return targets.iter().map(one).collect();
        }
        let mut at_once = targets.len();
        loop {
            match self.explain_by(at_once, &inputs, targets, request) {
                // As many of the targets as the device's memory holds at once.
                Err(RuntimeError::Backend(BackendError::DeviceMemory(_))) if at_once > 1 => {
                    at_once = at_once.div_ceil(2)
                }
                explained => return explained,
            }
        }
    }

    /// Explains targets of which `at_once` share a reverse.
    fn explain_by(
        &self,
        at_once: usize,
        inputs: &Views<'_>,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>, RuntimeError> {
        let info = &self.program().info;
        let run = self.executor.run(request.cancel.as_ref());
        let mut ready = self.executor.ready(inputs, wanted(self.program(), request)?, at_once, run)?;
        let (mut made, midway) = ready.forward()?;
        let convention = Convention::take(info, &mut made);
        let outputs = model_outputs(made);

        let (clock, before) = (Instant::now(), ready.prepare);
        let explained =
            outputs.get(&info.explained).ok_or_else(|| BackendError::MissingInput(info.explained.clone()))?;
        let requests: Vec<Request> = targets.iter().map(|target| request.clone().target(*target)).collect();
        let seeds = requests.iter().map(|request| seed(&info.explained, &outputs, request, &convention));
        let seeds: Vec<Seed> = seeds.collect::<Result<_, _>>()?;
        let starts: Vec<(Tensor, Option<Tensor>)> = match info.mode {
            Mode::Default => seeds.iter().map(|seed| (seed.tensor.clone(), None)).collect(),
            Mode::Contrastive => {
                let both = requests.iter().zip(&seeds).map(|(r, seed)| contrast::tracks(explained, r, seed));
                both.map(|[supporting, opposing]| (supporting, Some(opposing))).collect()
            }
        };
        let given: Vec<Tensor> = starts
            .iter()
            .map(|(supporting, opposing)| match opposing {
                None => supporting.clone(),
                Some(opposing) => stacked([supporting, opposing].into_iter()),
            })
            .collect();
        let (mut made, mut midway) = (vec![], Some(midway));
        for (i, part) in given.chunks(at_once).enumerate() {
            let last = (i + 1) * at_once >= given.len();
            let own = if last { midway.take() } else { midway.clone() };
            let Some(own) = own else { break };
            if at_once == 1 {
                made.push(ready.reverse(own, &part[0])?);
                continue;
            }
            // The plan takes so many; of fewer the last is done again.
            let all = part.iter().chain(std::iter::repeat(&part[part.len() - 1])).take(at_once);
            let all = self.unstacked(ready.reverse(own, &stacked(all))?, at_once);
            made.extend(all.into_iter().take(part.len()));
        }
        let reverse = clock.elapsed().as_secs_f64() - (ready.prepare - before);
        let timings = Timings { prepare: ready.prepare, forward: ready.forward, reverse };
        let explanations = made.iter().zip(seeds).zip(starts).map(|((made, seed), starts)| {
            let (supporting, opposing) = info.mode.pair();
            let track = |kind, start: &Tensor| Track::read(info, made, kind, start, request);
            Explanation {
                outputs: outputs.clone(),
                supporting: track(supporting, &starts.0),
                opposing: opposing.zip(starts.1).map(|(kind, start)| track(kind, &start)),
                argmax: seed.argmax,
                targets: seed.targets,
                boxes: seed.boxes,
                seed: seed.tensor,
                experts: request.experts.then(|| experts(info, made)),
                timings,
            }
        });
        Ok(explanations.collect())
    }

    /// What a reverse made for several targets, target by target. What depends on none is the same for all.
    fn unstacked(&self, made: Outputs, targets: usize) -> Vec<Outputs> {
        let alone: BTreeMap<&Output, usize> = {
            let graph = &self.program().graph;
            graph.outputs().iter().map(|(output, v)| (output, graph.ty(*v).rank())).collect()
        };
        let of = |target: usize| {
            let parts = made.iter().map(|(name, t)| {
                let own = alone.get(name).is_some_and(|rank| *rank == t.dims().len());
                (name.clone(), if own { t.clone() } else { part(t, target) })
            });
            parts.collect()
        };
        (0..targets).map(of).collect()
    }

    /// Whether the program takes any number of rows: the first axis of all inputs is the batch, and nothing else is.
    pub fn takes_rows(&self) -> bool {
        crate::rows::open(self.program())
    }

    /// Runs the model alone: its outputs by name.
    ///
    /// # Errors
    /// For inputs that do not fit, sizes beyond the limit.
    pub fn predict(&self, inputs: &dyn AsViews) -> Result<Tensors, RuntimeError> {
        Ok(self.executor.predict(&inputs.views(), self.executor.run(None))?.outputs)
    }

    /// What the last plan that ran holds, and how many targets share its reverse.
    pub fn memory(&self) -> Option<(MemoryReport, usize)> {
        self.executor.memory()
    }
}
