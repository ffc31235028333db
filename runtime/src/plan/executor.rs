//! Runs a program on a backend: binds the shapes of the inputs, plans, and caches the plans.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dlbc_backend::{
    Backend, BackendError, CancelToken, MemoryReport, Outputs, Plan, Progress, RunControl, Saved,
    SessionOptions, Tensors, Views,
};
use dlbc_ops::graph::Graph;
use dlbc_ops::prim::{Prim, batch};
use dlbc_ops::program::{Output, Program, SEED};
use dlbc_ops::tensor::{Bindings, Tensor};

use super::bind::bind;
use super::blocks::{Blocks, Engine, State, Weights};
use super::head::{POSITIONS, restrict};
use super::steps::{self, Rest, Step, check_sizes, dimension_values, has_branches, has_data_dependent_dims};
use super::wanted::{Key, Wanted, forward_outputs};
use crate::error::RuntimeError;
use crate::seed::Convention;

/// Capacity of the plan cache.
const PLANS: usize = 8;

/// A program on a backend, with a cache of its most recently used plans. Thread-safe.
pub(crate) struct Executor {
    program: Program,
    backend: Box<dyn Backend>,
    options: SessionOptions,
    /// Plan cache, most recently used first.
    plans: Mutex<Vec<(Key, CachedPlan)>>,
}

/// Results of a run without a reverse.
pub(crate) struct Prediction {
    /// Outputs of the model, by name.
    pub outputs: Tensors,
    /// Baselines that the program computes, by input.
    pub baselines: Tensors,
}

/// An entry of the plan cache.
#[derive(Clone)]
enum CachedPlan {
    /// One step of a run. A program without data-dependent dimensions has one step.
    Step(Arc<PlannedStep>),
    /// A program with data-dependent dimensions, in blocks.
    Blocks {
        blocks: Arc<Blocks>,
        /// True if the head of the program is restricted to the explained positions.
        is_restricted: bool,
    },
}

/// The plan of one step of a run.
pub(crate) struct PlannedStep {
    plan: Box<dyn Plan>,
    /// Sizes of symbols that constants determine.
    bound: Bindings,
    /// Remainder of the program after the step; `None` in the last step.
    rest: Option<Rest>,
    /// True if the head of the program is restricted to the explained positions.
    is_restricted: bool,
}

/// A run that is planned and about to compute its outputs.
pub(crate) struct PreparedRun<'a> {
    executor: &'a Executor,
    run: RunControl<'a>,
    /// Plan of the last step.
    plan: CachedPlan,
    /// Inputs of the last step: the caller's and the values that earlier steps carry over.
    inputs: Views<'a>,
    /// Time of binding and planning so far, in seconds.
    pub prepare: f64,
    /// Time of the forward so far, in seconds.
    pub forward: f64,
}

/// The state between forward and reverse of a run.
#[derive(Clone)]
pub(crate) enum ForwardState {
    /// Plan of the last step and the values that it saves for the reverse.
    Step(Arc<PlannedStep>, Saved),
    /// Blocks and the values computed so far.
    Blocks(Arc<Blocks>, State),
}

impl PreparedRun<'_> {
    /// Returns the backend of the run with its options.
    fn engine(&self) -> Engine<'_> {
        let Executor { backend, options, .. } = self.executor;
        Engine { backend: &**backend, options, run: self.run }
    }

    /// Returns whether the head of the program is restricted to the explained positions.
    pub fn is_restricted(&self) -> bool {
        match &self.plan {
            CachedPlan::Step(step) => step.is_restricted,
            CachedPlan::Blocks { is_restricted, .. } => *is_restricted,
        }
    }

    /// Computes the forward outputs of the program.
    pub fn forward(&mut self) -> Result<(Outputs, ForwardState), RuntimeError> {
        let clock = Instant::now();
        let (results, state) = match &self.plan {
            CachedPlan::Step(step) => {
                let (results, saved) = step.plan.forward(&self.inputs, &self.run)?;
                (results, ForwardState::Step(step.clone(), saved))
            }
            CachedPlan::Blocks { blocks, .. } => {
                let (results, state) = blocks.forward(self.engine(), &self.inputs)?;
                self.prepare += state.prepare;
                self.forward -= state.prepare;
                (results, ForwardState::Blocks(blocks.clone(), state))
            }
        };
        self.forward += clock.elapsed().as_secs_f64();
        Ok((results, state))
    }

    /// Propagates a seed back from the explained output and returns the reverse outputs.
    pub fn reverse(&mut self, state: ForwardState, seed: &Tensor) -> Result<Outputs, RuntimeError> {
        match state {
            ForwardState::Step(step, saved) => Ok(step.plan.reverse(&self.inputs, saved, seed, &self.run)?),
            ForwardState::Blocks(blocks, mut state) => {
                let before = state.prepare;
                let results = blocks.reverse(self.engine(), &self.inputs, seed, &mut state)?;
                self.prepare += state.prepare - before;
                Ok(results)
            }
        }
    }
}

impl Executor {
    /// Creates an executor with an empty plan cache.
    ///
    /// # Errors
    /// When the backend cannot run nodes of the program; the error lists all of them.
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

    /// Returns the program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns the backend.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Returns the handle of a run, with its cancel token and the progress callback of the options.
    pub fn run<'a>(&'a self, cancel: Option<&'a CancelToken>) -> RunControl<'a> {
        RunControl { cancel, progress: self.options.progress.as_ref().map(|receiver| receiver.report()) }
    }

    /// Runs the model without a reverse.
    ///
    /// # Errors
    /// For inputs that do not fit the program and tensors above the size limit.
    pub fn predict(&self, inputs: &Views<'_>, run: RunControl<'_>) -> Result<Prediction, RuntimeError> {
        let forward = forward_outputs(&self.program, None);
        let wanted = Wanted { forward, reverse: vec![], targets: 1, head: None };
        let (mut results, _) = self.prepare(inputs, wanted, None, run)?.forward()?;
        Convention::take(&self.program.info, &mut results);
        let baseline = |(output, tensor): (&Output, &Tensor)| match output {
            Output::Baseline(input) => Some((input.to_string(), tensor.clone())),
            Output::Model(_)
            | Output::Relevance { .. }
            | Output::Ledger { .. }
            | Output::Expert { .. }
            | Output::Dimension(_)
            | Output::SeedValue
            | Output::SeedSign
            | Output::Trees { .. }
            | Output::Value(_) => None,
        };
        let baselines = results.iter().filter_map(baseline).collect();
        Ok(Prediction { outputs: model_outputs(results), baselines })
    }

    /// Runs the model, propagates a seed back and returns the program's outputs `reverse`.
    ///
    /// # Errors
    /// As [`Executor::predict`].
    pub fn forward_and_reverse(
        &self,
        inputs: &Views<'_>,
        reverse: Vec<Output>,
        seed: &Tensor,
        run: RunControl<'_>,
    ) -> Result<Outputs, RuntimeError> {
        // Of the forward only the reverse is of interest.
        let forward = vec![Output::from(&self.program.info.explained)];
        let wanted = Wanted { forward, reverse, targets: 1, head: None };
        let mut prepared = self.prepare(inputs, wanted, None, run)?;
        let (_, state) = prepared.forward()?;
        prepared.reverse(state, seed)
    }

    /// Returns the dimensions of the explained output; `None` if they depend on values.
    ///
    /// # Errors
    /// For inputs that do not fit the program.
    pub fn explained_dims(&self, inputs: &Views<'_>) -> Result<Option<Vec<usize>>, RuntimeError> {
        let bindings = bind(&self.program.info, inputs)?;
        let explained = self.program.graph.output(&Output::from(&self.program.info.explained));
        Ok(explained.and_then(|v| self.program.graph.ty(v).shape.substitute(&bindings).as_known()))
    }

    /// Runs the steps that compute data-dependent dimensions, and plans the last step. `positions` are the explained
    /// positions, for a program whose head is restricted to them.
    pub fn prepare<'a>(
        &'a self,
        inputs: &Views<'a>,
        wanted: Wanted,
        positions: Option<Tensor>,
        run: RunControl<'a>,
    ) -> Result<PreparedRun<'a>, RuntimeError> {
        let clock = Instant::now();
        let bindings = bind(&self.program.info, inputs)?;
        let mut key = Key { bindings, wanted };
        let mut plan = self.plan(&key, None, &run)?;
        let mut inputs = inputs.clone();
        inputs.extend(positions.map(|tensor| (POSITIONS.to_string(), tensor.into())));
        let mut prepared = PreparedRun {
            executor: self,
            run,
            plan: plan.clone(),
            inputs,
            prepare: clock.elapsed().as_secs_f64(),
            forward: 0.0,
        };
        while let CachedPlan::Step(step) = &plan
            && let Some(rest) = &step.rest
        {
            let clock = Instant::now();
            let (mut results, _) = step.plan.forward(&prepared.inputs, &run)?;
            prepared.forward += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            let mut sizes = Bindings::new();
            for symbol in &rest.symbols {
                let value = results.remove(&Output::Dimension(symbol.clone()));
                sizes.extend(value.and_then(|t| t.to_i64().first().map(|v| (symbol.clone(), *v))));
            }
            check_sizes(&self.program.graph, &dimension_values(&self.program.graph), &sizes)?;
            key.bindings.extend(sizes);
            key.bindings.extend(step.bound.clone());
            // The values that a step carries over are inputs of the next step.
            prepared
                .inputs
                .extend(results.into_iter().map(|(output, tensor)| (output.to_string(), tensor.into())));
            plan = self.plan(&key, Some(step), &run)?;
            prepared.prepare += clock.elapsed().as_secs_f64();
            prepared.plan = plan.clone();
        }
        Ok(prepared)
    }

    /// Returns the memory of the most recently used plan, and the number of targets that share its reverse.
    pub fn memory(&self) -> Option<(MemoryReport, usize)> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, plan) = plans.first()?;
        let memory = match plan {
            CachedPlan::Step(step) => step.plan.memory(),
            CachedPlan::Blocks { blocks, .. } => blocks.memory(),
        };
        Some((memory, key.wanted.targets))
    }

    /// Empties the plan cache. Returns whether it held any plan.
    fn clear_plans(&self) -> bool {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let any = !plans.is_empty();
        plans.clear();
        any
    }

    /// Returns the plan of the step that follows `before`, or of the first step, from the cache or newly made.
    fn plan(
        &self,
        key: &Key,
        before: Option<&PlannedStep>,
        run: &RunControl<'_>,
    ) -> Result<CachedPlan, RuntimeError> {
        {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(index) = plans.iter().position(|(k, _)| k == key) {
                let hit = plans.remove(index);
                plans.insert(0, hit.clone());
                return Ok(hit.1);
            }
        }
        // Two threads may plan the same shapes at once; both plans are right.
        run.report(Progress::Planning);
        let program = before.and_then(|b| b.rest.as_ref()).map_or(&self.program.graph, |r| &r.graph);
        let Wanted { forward, reverse, targets, head } = &key.wanted;
        // The whole program, or what is left of it for the last step.
        let restricted =
            |graph: &Graph<Prim>| head.and_then(|whole| restrict(graph, &self.program.info.explained, whole));
        let data_dependent = has_data_dependent_dims(&self.program.graph);
        if data_dependent && !has_branches(&self.program.graph) {
            let outputs = [forward.as_slice(), reverse];
            let weights = match self.backend.borrows_weights() {
                true => Weights::Inputs,
                false => Weights::Constants,
            };
            let restricted = restricted(&program.bind(&key.bindings));
            let is_restricted = restricted.is_some();
            let program = restricted.as_ref().unwrap_or(program);
            let blocks = Arc::new(Blocks::new(program, &key.bindings, outputs, *targets, weights)?);
            return Ok(self.cache(key, CachedPlan::Blocks { blocks, is_restricted }));
        }
        let step = match data_dependent {
            true => steps::next(program, &key.bindings, &[&forward[..], reverse].concat())?,
            false => Step { graph: program.bind(&key.bindings), bound: Bindings::new(), rest: None },
        };
        let mut graph = step.graph;
        graph.check().map_err(RuntimeError::Shapes)?;
        let restricted = if step.rest.is_none() { restricted(&graph) } else { None };
        let is_restricted = restricted.is_some();
        graph = restricted.unwrap_or(graph);
        if step.rest.is_none() && *targets > 1 {
            graph = batch(&graph, &[SEED], *targets).map_err(RuntimeError::Batch)?;
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
            None => (forward.clone(), reverse.clone()),
            Some(_) => (all(), vec![]),
        };
        let prepare = || self.backend.prepare(&graph, &first, &second, &self.options);
        let plan = match prepare() {
            // Other plans hold memory, too.
            Err(BackendError::DeviceMemory(_)) if self.clear_plans() => prepare()?,
            plan => plan?,
        };
        let planned = PlannedStep { plan, bound: step.bound, rest: step.rest, is_restricted };
        Ok(self.cache(key, CachedPlan::Step(Arc::new(planned))))
    }

    /// Adds a plan to the cache, and drops the longest unused ones when there are too many. A program in steps has one plan
    /// per step, at most as many as it has data-dependent dimensions.
    fn cache(&self, key: &Key, plan: CachedPlan) -> CachedPlan {
        let steps =
            self.program.graph.outputs().iter().filter(|(n, _)| matches!(n, Output::Dimension(_))).count();
        let capacity = PLANS + if matches!(plan, CachedPlan::Step(_)) { steps } else { 0 };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert(0, (key.clone(), plan.clone()));
        plans.truncate(capacity);
        plan
    }
}

/// Returns the outputs of the model among the results of a forward, by name.
pub(crate) fn model_outputs(results: Outputs) -> Tensors {
    let named = |(output, tensor): (Output, Tensor)| match output {
        Output::Model(name) => Some((name.to_string(), tensor)),
        Output::Relevance { .. }
        | Output::Ledger { .. }
        | Output::Expert { .. }
        | Output::Dimension(_)
        | Output::Baseline(_)
        | Output::SeedValue
        | Output::SeedSign
        | Output::Trees { .. }
        | Output::Value(_) => None,
    };
    results.into_iter().filter_map(named).collect()
}
