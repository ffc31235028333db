//! Explanations of a program: seeds the reverse and keeps the books.

mod load;
mod stack;

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_backend::{Backend, BackendError, MemoryReport, SessionOptions, Tensors};
use dlbc_ops::program::{Mode, Program, Repeat, Track};
use dlbc_ops::tensor::Tensor;

use crate::error::RuntimeError;
use crate::explanation::{Explanation, Opposing, Seconds};
use crate::ledger::expert_relevance::experts;
use crate::ledger::modules::{self as layers};
use crate::ledger::{LedgerRow, wanted};
use crate::plan::executor::{Executor, model_outputs};
use crate::repeat;
use crate::request::{Request, Target};
use crate::seed::contrast;
use crate::seed::{Convention, Seed, seed};
use stack::{part, stacked};

/// A program ready to run. Thread-safe: share it behind an `Arc`.
pub struct Session {
    executor: Executor,
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
        Ok(Session { executor: Executor::new(program, backend, options)? })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        self.executor.program()
    }

    /// The backend's name.
    pub fn device(&self) -> &'static str {
        self.executor.backend().name()
    }

    /// Runs the model and explains its output.
    ///
    /// A composite that repeats its program ([`Repeat`]) runs it as often as it says.
    ///
    /// # Errors
    /// For inputs that do not fit, a target out of range, sizes beyond the limit.
    pub fn explain(&self, inputs: &Tensors, request: &Request) -> Result<Explanation, RuntimeError> {
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
    ///     println!("class {}: {:?}", explanation.targets[0], explanation.relevance["input"].to_f32());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain_targets(
        &self,
        inputs: &Tensors,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>, RuntimeError> {
        let twice = targets.iter().enumerate().any(|(i, t)| targets[..i].contains(t));
        if targets.is_empty() || twice {
            return Err(RuntimeError::Targets(targets.to_vec()));
        }
        let info = &self.program().info;
        if request.baseline.is_some() && !matches!(info.repeat, Some(Repeat::IntegratedGradients { .. })) {
            return Err(RuntimeError::NoBaseline { rules: info.rules.clone() });
        }
        if let Some(repeat) = &info.repeat {
            let one = |target: &Target| {
                let request = Request { target: *target, ..request.clone() };
                repeat::explain(&self.executor, repeat, inputs, &request)
            };
            return targets.iter().map(one).collect();
        }
        let mut at_once = targets.len();
        loop {
            match self.explain_by(at_once, inputs, targets, request) {
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
        inputs: &Tensors,
        targets: &[Target],
        request: &Request,
    ) -> Result<Vec<Explanation>, RuntimeError> {
        let info = &self.program().info;
        let mut ready = self.executor.ready(inputs, wanted(self.program(), request)?, at_once)?;
        let (mut made, midway) = ready.forward()?;
        let convention = Convention::take(info, &mut made);
        let outputs = model_outputs(made);

        let (clock, before) = (Instant::now(), ready.prepare);
        let explained =
            outputs.get(&info.explained).ok_or_else(|| BackendError::MissingInput(info.explained.clone()))?;
        let requests: Vec<Request> =
            targets.iter().map(|target| Request { target: *target, ..request.clone() }).collect();
        let seeds = requests.iter().map(|request| seed(&info.explained, &outputs, request, &convention));
        let seeds: Vec<Seed> = seeds.collect::<Result<_, _>>()?;
        // Of each target the start of each track.
        let starts: Vec<Vec<Tensor>> = match info.mode {
            Mode::Default => seeds.iter().map(|seed| vec![seed.tensor.clone()]).collect(),
            Mode::Contrastive => {
                let both = requests.iter().zip(&seeds);
                both.map(|(request, seed)| contrast::tracks(explained, request, seed).into()).collect()
            }
        };
        let given: Vec<Tensor> = starts
            .iter()
            .map(|tracks| match tracks.as_slice() {
                [one] => one.clone(),
                all => stacked(all.iter()),
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
        let seconds = Seconds { prepare: ready.prepare, forward: ready.forward, reverse };
        let explanations = made.iter().zip(seeds).zip(starts).map(|((made, seed), starts)| {
            let tracks = info.mode.tracks().iter().zip(starts);
            let mut books = tracks.map(|(track, start)| self.account(made, track, &start, request));
            let own = books.next().unwrap_or_default();
            Explanation {
                outputs: outputs.clone(),
                relevance: own.relevance,
                argmax: seed.argmax,
                targets: seed.targets,
                boxes: seed.boxes,
                seed: seed.tensor,
                start: own.start,
                inputs: own.inputs,
                absorbed: own.absorbed,
                ledger: own.ledger,
                layers: own.layers,
                heads: own.heads,
                opposing: books.next(),
                experts: request.experts.then(|| experts(info, made)),
                seconds,
            }
        });
        Ok(explanations.collect())
    }

    /// What a reverse made for several targets, target by target. What depends on none is the same for all.
    fn unstacked(&self, made: Tensors, targets: usize) -> Vec<Tensors> {
        let alone: BTreeMap<&str, usize> = {
            let graph = &self.program().graph;
            graph.outputs().iter().map(|(name, v)| (name.as_str(), graph.ty(*v).rank())).collect()
        };
        let of = |target: usize| {
            let parts = made.iter().map(|(name, t)| {
                let own = alone.get(name.as_str()).is_some_and(|rank| *rank == t.dims().len());
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
    pub fn predict(&self, inputs: &Tensors) -> Result<Tensors, RuntimeError> {
        Ok(self.executor.predict(inputs)?.outputs)
    }

    /// What the last plan that ran holds, and how many targets share its reverse.
    pub fn memory(&self) -> Option<(MemoryReport, usize)> {
        self.executor.memory()
    }

    /// What a track of the reverse made.
    fn account(&self, made: &Tensors, track: &Track, start: &Tensor, request: &Request) -> Opposing {
        let start: f64 = start.to_f64().iter().sum();
        let info = &self.program().info;
        let scalar = |name: String| made.get(&name).map_or(0.0, |t| t.to_f64().iter().sum());
        let ledger: Option<Vec<LedgerRow>> = request.audit.then(|| {
            let rows = info.audit.iter().enumerate().map(|(i, row)| LedgerRow {
                node: row.node.clone(),
                op: row.op.clone(),
                rule: row.rule.clone(),
                operands: row.operands.clone(),
                received: scalar(format!("{}{i}/in", track.audit)),
                passed: scalar(format!("{}{i}/out", track.audit)),
                absorbed: scalar(format!("{}{i}/absorbed", track.audit)),
            });
            rows.collect()
        });
        let relevance: Tensors = made
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix(track.relevance)?.to_string(), v.clone())))
            .collect();
        let explained = info.inputs.iter().filter(|i| i.explained);
        let inputs: BTreeMap<String, f64> = explained
            .filter_map(|i| Some((i.name.clone(), relevance.get(&i.name)?.to_f64().iter().sum())))
            .collect();
        let absorbed = match &ledger {
            Some(rows) => rows.iter().map(|r| r.absorbed).sum(),
            None => start - inputs.values().sum::<f64>(),
        };
        let layers = request.layers.then(|| layers::layers(info, made, track.audit));
        let heads = request.heads.then(|| layers::heads(info, made, track.audit));
        Opposing { relevance, start, inputs, absorbed, ledger, layers, heads }
    }
}
