//! A program on a backend: binds the shapes of a run's inputs, plans, keeps the plans that were used last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dlbc_backend::{
    Backend, BackendError, CancelToken, MemoryReport, Outputs, Plan, Progress, RunControl, Saved,
    SessionOptions, Tensors, Views,
};
use dlbc_ops::prim::batch;
use dlbc_ops::program::{Output, Program, SEED};
use dlbc_ops::tensor::{Bindings, Tensor};

use super::bind::bind;
use super::blocks::{Blocks, Engine, State};
use super::steps::{self, Rest, Step, branches, check, has_measures, measures};
use crate::error::RuntimeError;
use crate::seed::Convention;

/// Plans that an executor keeps.
const PLANS: usize = 8;

/// A program on a backend, with the plans that were used last. Thread-safe.
pub(crate) struct Executor {
    program: Program,
    backend: Box<dyn Backend>,
    options: SessionOptions,
    /// Most recently used first.
    plans: Mutex<Vec<(Key, Kept)>>,
}

/// The shapes, outputs and number of targets that a plan is for.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    bindings: Bindings,
    reverse: Vec<Output>,
    /// Targets that share a reverse.
    targets: usize,
}

/// Outputs of a run without a reverse.
pub(crate) struct Prediction {
    /// The model's outputs by name.
    pub outputs: Tensors,
    /// The baselines that the program computes, by input.
    pub baselines: Tensors,
}

/// Plans for one key.
#[derive(Clone)]
enum Kept {
    /// A step of a run; most programs have one.
    Step(Arc<Planned>),
    /// A program of measured dimensions, in blocks.
    Blocks(Arc<Blocks>),
}

/// A step of a run, planned.
pub(crate) struct Planned {
    plan: Box<dyn Plan>,
    /// Symbols that this step found known.
    bound: Bindings,
    /// What comes after it.
    rest: Option<Rest>,
}

/// A run that is about to compute its outputs, with what was made on the way.
pub(crate) struct Ready<'a> {
    executor: &'a Executor,
    run: RunControl<'a>,
    kept: Kept,
    inputs: Views<'a>,
    /// Seconds of binding and planning so far.
    pub prepare: f64,
    /// Seconds of the forward so far.
    pub forward: f64,
}

/// What a run goes on with after its forward.
#[derive(Clone)]
pub(crate) enum Midway {
    Step(Arc<Planned>, Saved),
    Blocks(Arc<Blocks>, State),
}

impl Ready<'_> {
    fn engine(&self) -> Engine<'_> {
        let Executor { backend, options, .. } = self.executor;
        Engine { backend: &**backend, options, run: self.run }
    }

    /// Computes the program's outputs.
    pub fn forward(&mut self) -> Result<(Outputs, Midway), RuntimeError> {
        let clock = Instant::now();
        let (made, midway) = match &self.kept {
            Kept::Step(step) => {
                let (made, saved) = step.plan.forward(&self.inputs, &self.run)?;
                (made, Midway::Step(step.clone(), saved))
            }
            Kept::Blocks(blocks) => {
                let (made, state) = blocks.forward(self.engine(), &self.inputs)?;
                self.prepare += state.prepare;
                self.forward -= state.prepare;
                (made, Midway::Blocks(blocks.clone(), state))
            }
        };
        self.forward += clock.elapsed().as_secs_f64();
        Ok((made, midway))
    }

    /// Passes a seed back.
    pub fn reverse(&mut self, midway: Midway, seed: &Tensor) -> Result<Outputs, RuntimeError> {
        match midway {
            Midway::Step(step, saved) => Ok(step.plan.reverse(&self.inputs, saved, seed, &self.run)?),
            Midway::Blocks(blocks, mut state) => {
                let before = state.prepare;
                let made = blocks.reverse(self.engine(), &self.inputs, seed, &mut state)?;
                self.prepare += state.prepare - before;
                Ok(made)
            }
        }
    }
}

impl Executor {
    /// An executor without plans.
    ///
    /// # Errors
    /// When the backend cannot run a node of the program: lists them all.
    pub fn new(
        program: Program,
        backend: Box<dyn Backend>,
        options: SessionOptions,
    ) -> Result<Executor, RuntimeError> {
        let nodes = backend.check(&program.graph);
        if !nodes.is_empty() {
            return Err(BackendError::Unsupported { backend: backend.name(), nodes }.into());
        }
        Ok(Executor { program, backend, options, plans: Mutex::default() })
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The backend.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// The means to cancel a run by a token, and to follow it as the options say.
    pub fn run<'a>(&'a self, cancel: Option<&'a CancelToken>) -> RunControl<'a> {
        RunControl { cancel, progress: self.options.progress.as_ref().map(|receiver| receiver.report()) }
    }

    /// Runs the model without a reverse.
    ///
    /// # Errors
    /// For inputs that do not fit, sizes beyond the limit.
    pub fn predict(&self, inputs: &Views<'_>, run: RunControl<'_>) -> Result<Prediction, RuntimeError> {
        let (mut made, _) = self.ready(inputs, vec![], 1, run)?.forward()?;
        Convention::take(&self.program.info, &mut made);
        let baseline = |(output, tensor): (&Output, &Tensor)| match output {
            Output::Baseline(input) => Some((input.to_string(), tensor.clone())),
            Output::Model(_)
            | Output::Relevance { .. }
            | Output::Ledger { .. }
            | Output::Expert { .. }
            | Output::Dimension(_)
            | Output::SeedValue
            | Output::SeedSign
            | Output::Value(_) => None,
        };
        let baselines = made.iter().filter_map(baseline).collect();
        Ok(Prediction { outputs: model_outputs(made), baselines })
    }

    /// Runs the model and passes a seed back: the `reverse` outputs of the program.
    ///
    /// # Errors
    /// As [`Executor::predict`].
    pub fn pull(
        &self,
        inputs: &Views<'_>,
        reverse: Vec<Output>,
        seed: &Tensor,
        run: RunControl<'_>,
    ) -> Result<Outputs, RuntimeError> {
        let mut ready = self.ready(inputs, reverse, 1, run)?;
        let (_, midway) = ready.forward()?;
        ready.reverse(midway, seed)
    }

    /// Takes the steps that measure dimensions, and plans the last one.
    pub fn ready<'a>(
        &'a self,
        inputs: &Views<'a>,
        reverse: Vec<Output>,
        targets: usize,
        run: RunControl<'a>,
    ) -> Result<Ready<'a>, RuntimeError> {
        let clock = Instant::now();
        let bindings = bind(&self.program.info, inputs)?;
        let mut key = Key { bindings, reverse, targets };
        let mut kept = self.plan(&key, None, &run)?;
        let mut ready = Ready {
            executor: self,
            run,
            kept: kept.clone(),
            inputs: inputs.clone(),
            prepare: clock.elapsed().as_secs_f64(),
            forward: 0.0,
        };
        while let Kept::Step(step) = &kept
            && let Some(rest) = &step.rest
        {
            let clock = Instant::now();
            let (mut made, _) = step.plan.forward(&ready.inputs, &run)?;
            ready.forward += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            let mut found = Bindings::new();
            for symbol in &rest.symbols {
                let value = made.remove(&Output::Dimension(symbol.clone()));
                found.extend(value.and_then(|t| t.to_i64().first().map(|v| (symbol.clone(), *v))));
            }
            check(&self.program.graph, &measures(&self.program.graph), &found)?;
            key.bindings.extend(found);
            key.bindings.extend(step.bound.clone());
            // What a step keeps for the next one is an input of that one.
            ready.inputs.extend(made.into_iter().map(|(output, tensor)| (output.to_string(), tensor.into())));
            kept = self.plan(&key, Some(step), &run)?;
            ready.prepare += clock.elapsed().as_secs_f64();
            ready.kept = kept.clone();
        }
        Ok(ready)
    }

    /// Memory of the plan that ran last, and how many targets share its reverse.
    pub fn memory(&self) -> Option<(MemoryReport, usize)> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, kept) = plans.first()?;
        let memory = match kept {
            Kept::Step(step) => step.plan.memory(),
            Kept::Blocks(blocks) => blocks.memory(),
        };
        Some((memory, key.targets))
    }

    /// Gives up the plans that are kept; whether there were any.
    fn forget(&self) -> bool {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let had = !plans.is_empty();
        plans.clear();
        had
    }

    /// The plan of the step that follows `before`, or of the first.
    fn plan(&self, key: &Key, before: Option<&Planned>, run: &RunControl<'_>) -> Result<Kept, RuntimeError> {
        {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = plans.iter().position(|(k, _)| k == key) {
                let hit = plans.remove(at);
                plans.insert(0, hit.clone());
                return Ok(hit.1);
            }
        }
        // Two threads may plan the same shapes at once; both plans are right.
        run.report(Progress::Planning);
        let program = before.and_then(|b| b.rest.as_ref()).map_or(&self.program.graph, |r| &r.graph);
        let mut forward: Vec<Output> = self.program.info.outputs.iter().map(Output::from).collect();
        // Values that do not depend on the target are computed with the outputs.
        let early =
            |output: &&Output| matches!(output, Output::Baseline(_) | Output::SeedValue | Output::SeedSign);
        let names = self.program.graph.outputs().iter().map(|(name, _)| name);
        forward.extend(names.filter(early).cloned());
        let measured = has_measures(&self.program.graph);
        if measured && !branches(&self.program.graph) {
            let outputs = [forward.as_slice(), &key.reverse];
            let in_place = self.backend.borrows_weights();
            let blocks = Blocks::new(program, &key.bindings, outputs, key.targets, in_place)?;
            return Ok(self.keep(key, Kept::Blocks(Arc::new(blocks))));
        }
        let step = match measured {
            true => steps::next(program, &key.bindings, &[&forward[..], &key.reverse].concat())?,
            false => Step { graph: program.bind(&key.bindings), bound: Bindings::new(), rest: None },
        };
        let mut graph = step.graph;
        graph.check().map_err(RuntimeError::Shapes)?;
        if step.rest.is_none() && key.targets > 1 {
            graph = batch(&graph, &[SEED], key.targets).map_err(RuntimeError::Batch)?;
            graph.check().map_err(RuntimeError::Shapes)?;
        }
        for id in graph.nodes() {
            let ty = &graph.node(id).types[0];
            let bytes = ty.bytes().unwrap_or(u64::MAX);
            if bytes > self.options.max_tensor_bytes {
                let node = graph.node(id).name().to_string();
                let limit = self.options.max_tensor_bytes;
                return Err(BackendError::Limit { node, bytes, limit }.into());
            }
        }
        let all = || graph.outputs().iter().map(|(n, _)| n.clone()).collect();
        let (first, second) = match step.rest {
            None => (forward, key.reverse.clone()),
            Some(_) => (all(), vec![]),
        };
        let prepare = || self.backend.prepare(&graph, &first, &second, &self.options);
        let plan = match prepare() {
            // Other plans hold memory, too.
            Err(BackendError::DeviceMemory(_)) if self.forget() => prepare()?,
            plan => plan?,
        };
        let planned = Planned { plan, bound: step.bound, rest: step.rest };
        Ok(self.keep(key, Kept::Step(Arc::new(planned))))
    }

    fn keep(&self, key: &Key, planned: Kept) -> Kept {
        let steps =
            self.program.graph.outputs().iter().filter(|(n, _)| matches!(n, Output::Dimension(_))).count();
        let most = PLANS + if matches!(planned, Kept::Step(_)) { steps } else { 0 };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(0, (key.clone(), planned.clone()));
        plans.truncate(most);
        planned
    }
}

/// The model's outputs under their own names.
pub(crate) fn model_outputs(made: Outputs) -> Tensors {
    let own = |(output, tensor): (Output, Tensor)| match output {
        Output::Model(name) => Some((name.to_string(), tensor)),
        Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Dimension(_)
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Value(_) => None,
    };
    made.into_iter().filter_map(own).collect()
}
