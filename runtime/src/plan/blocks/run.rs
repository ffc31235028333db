//! Blocks, run in order; their plans, kept by the sizes that they are for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dlbc_backend::{
    Backend, BackendError, MemoryReport, Outputs, Plan, Progress, ReferenceBackend, RunControl,
    SessionOptions, Views,
};
use dlbc_ops::graph::Graph;
use dlbc_ops::prim::{self, Prim, batch};
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{Bindings, Dim, Shape, Tensor, TensorType, TensorView};

use super::block::{Block, Parts, Source};
use super::cut::cut;
use crate::error::RuntimeError;
use crate::plan::simplify::simplify;

/// Plans of blocks with measured dimensions that are kept: those used last.
const PLANS: usize = 1024;

/// The backend of a run, its options, and the means to cancel and follow it.
#[derive(Clone, Copy)]
pub(crate) struct Engine<'a> {
    pub backend: &'a dyn Backend,
    pub options: &'a SessionOptions,
    pub run: RunControl<'a>,
}

/// A program in blocks, with its plans.
pub(crate) struct Blocks {
    parts: Parts,
    /// Targets that share a reverse.
    targets: usize,
    plans: Mutex<Plans>,
}

#[derive(Default)]
struct Plans {
    /// With the time of their last use.
    by_key: HashMap<Key, (u64, Arc<Planned>)>,
    clock: u64,
}

/// What a plan is for: a class of blocks, and the sizes of its measured dimensions.
type Key = (usize, Vec<i64>);

/// A block of a class for some sizes.
enum Planned {
    /// What it makes depends on nothing.
    Fixed(Vec<Tensor>),
    /// The plan, and of each input that it still reads the place and the name.
    Plan { plan: Box<dyn Plan>, inputs: Vec<(usize, String)>, outputs: Vec<Output> },
}

/// A run between its forward and its reverse.
#[derive(Clone)]
pub(crate) struct State {
    values: Vec<Option<Tensor>>,
    sizes: Bindings,
    /// Seconds that planning took.
    pub prepare: f64,
}

impl Blocks {
    /// Cuts `program`, whose inputs' dimensions `bindings` has, towards its outputs, for a backend that reads weights in place
    /// or does not.
    ///
    /// # Errors
    /// When a dimension cannot be measured.
    pub fn new(
        program: &Graph<Prim>,
        bindings: &Bindings,
        [forward, reverse]: [&[Output]; 2],
        targets: usize,
        in_place: bool,
    ) -> Result<Blocks, RuntimeError> {
        let parts = cut(program, bindings, forward, reverse, in_place)?;
        Ok(Blocks { parts, targets, plans: Mutex::default() })
    }

    /// Computes the forward outputs.
    ///
    /// # Errors
    /// When planning fails, a value is out of range for a node, or a measured dimension is below 0.
    pub fn forward(&self, engine: Engine<'_>, inputs: &Views<'_>) -> Result<(Outputs, State), RuntimeError> {
        let mut state = State { values: vec![None; self.parts.values], sizes: Bindings::new(), prepare: 0.0 };
        for (symbol, name) in &self.parts.given {
            state.measured(symbol, name, inputs.get(name).cloned())?;
        }
        self.steps(0..self.parts.early, engine, inputs, None, &mut state)?;
        Ok((self.results(0, inputs, None, &state), state))
    }

    /// Computes the reverse outputs from a seed.
    ///
    /// # Errors
    /// As [`Blocks::forward`].
    pub fn reverse(
        &self,
        engine: Engine<'_>,
        inputs: &Views<'_>,
        seed: &Tensor,
        state: &mut State,
    ) -> Result<Outputs, RuntimeError> {
        let late = self.parts.early..self.parts.blocks.len();
        self.steps(late, engine, inputs, Some(seed), state)?;
        Ok(self.results(1, inputs, Some(seed), state))
    }

    /// What the plans hold.
    pub fn memory(&self) -> MemoryReport {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = MemoryReport::default();
        for (_, planned) in plans.by_key.values() {
            if let Planned::Plan { plan, .. } = &**planned {
                let own = plan.memory();
                all.constant_bytes += own.constant_bytes;
                all.saved_bytes += own.saved_bytes;
                all.plan_bytes += own.plan_bytes;
                all.segments = all.segments.max(own.segments);
            }
        }
        all
    }

    /// Gives up the plans that are kept; whether there were any.
    fn forget(&self) -> bool {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::take(&mut plans.by_key).is_empty()
    }

    /// The outputs of a stage.
    fn results(&self, stage: usize, inputs: &Views<'_>, seed: Option<&Tensor>, state: &State) -> Outputs {
        let known = self.parts.outputs[stage].iter();
        known
            .filter_map(|(name, source)| Some((name.clone(), state.find(source, inputs, seed)?.to_tensor())))
            .collect()
    }

    fn steps(
        &self,
        blocks: Range<usize>,
        engine: Engine<'_>,
        inputs: &Views<'_>,
        seed: Option<&Tensor>,
        state: &mut State,
    ) -> Result<(), RuntimeError> {
        let mut done = Ok(());
        engine.backend.with_thread_pool(engine.options, &mut || {
            let total = blocks.len();
            done = self.parts.blocks[blocks.clone()].iter().enumerate().try_for_each(|(done, block)| {
                engine.run.check()?;
                engine.run.report(match seed {
                    None => Progress::Forward { done, total },
                    Some(_) => Progress::Reverse { done, total },
                });
                self.step(block, engine, inputs, seed, state)
            });
        })?;
        done
    }

    fn step(
        &self,
        block: &Block,
        engine: Engine<'_>,
        inputs: &Views<'_>,
        seed: Option<&Tensor>,
        state: &mut State,
    ) -> Result<(), RuntimeError> {
        let clock = Instant::now();
        let planned = self.plan(block, engine, &state.sizes)?;
        state.prepare += clock.elapsed().as_secs_f64();
        let made = match &*planned {
            Planned::Fixed(made) => made.clone(),
            Planned::Plan { plan, inputs: read, outputs } => {
                let mut feed = Views::new();
                for (at, name) in read {
                    let tensor = state.find(&block.inputs[*at].0, inputs, seed);
                    let tensor = tensor.ok_or_else(|| BackendError::MissingInput(name.clone()))?;
                    feed.insert(name.clone(), tensor);
                }
                let mut made = match plan.forward(&feed, &engine.run.silent()) {
                    Err(error @ BackendError::Node(_)) => {
                        let own = self.own_error(block, engine, &state.sizes, feed);
                        return Err(own.unwrap_or(error).into());
                    }
                    done => done?.0,
                };
                outputs.iter().filter_map(|name| made.remove(name)).collect()
            }
        };
        for ((at, _), tensor) in block.outputs.iter().zip(made) {
            state.values[*at] = Some(tensor);
        }
        for (symbol, at) in &block.measures {
            let node = block.outputs.iter().position(|(own, _)| own == at);
            let node = node.map_or_else(String::new, |i| block.graph.outputs()[i].0.to_string());
            let value = state.values[*at].clone().map(TensorView::from);
            state.measured(symbol, &node, value)?;
        }
        for at in &block.done {
            state.values[*at] = None;
        }
        Ok(())
    }

    /// What a block's own plan refuses: that of its class names nodes of another block.
    fn own_error(
        &self,
        block: &Block,
        engine: Engine<'_>,
        sizes: &Bindings,
        mut feed: Views<'_>,
    ) -> Option<BackendError> {
        let shared = self.plan(block, engine, sizes).ok()?;
        let own = self.made(block, engine, sizes).ok()?;
        let (Planned::Plan { inputs: theirs, .. }, Planned::Plan { plan, inputs, .. }) = (&*shared, &own)
        else {
            return None;
        };
        let pairs = theirs.iter().zip(inputs);
        let feed = pairs.filter_map(|((_, name), (_, own))| Some((own.clone(), feed.remove(name)?)));
        plan.forward(&feed.collect(), &engine.run.silent()).err()
    }

    /// The plan of a block for the sizes that a run measured.
    fn plan(
        &self,
        block: &Block,
        engine: Engine<'_>,
        sizes: &Bindings,
    ) -> Result<Arc<Planned>, RuntimeError> {
        let own = block.symbols.iter().map(|s| sizes.get(s).copied().unwrap_or(-1));
        let key: Key = (block.class, own.collect());
        if let Some(hit) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(hit);
        }
        // Two threads may plan the same block at once; both plans are right.
        let made = Arc::new(self.made(block, engine, sizes)?);
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert(key, made.clone());
        Ok(made)
    }

    fn made(&self, block: &Block, engine: Engine<'_>, sizes: &Bindings) -> Result<Planned, RuntimeError> {
        let mut graph = block.graph.bind(sizes);
        let names: Vec<String> = graph.inputs().iter().map(|id| graph.node(*id).name().to_string()).collect();
        simplify(&mut graph);
        graph.remove_unused();
        graph.remove_unused_inputs();
        graph.check().map_err(RuntimeError::Shapes)?;
        if self.targets > 1 {
            graph = self.batched(graph, block, &names)?;
        }
        for id in graph.nodes() {
            let bytes = graph.node(id).types[0].bytes().unwrap_or(u64::MAX);
            if bytes > engine.options.max_tensor_bytes {
                let node = graph.node(id).name().to_string();
                let limit = engine.options.max_tensor_bytes;
                return Err(BackendError::Limit { node, bytes, limit }.into());
            }
        }
        let outputs: Vec<Output> = graph.outputs().iter().map(|(n, _)| n.clone()).collect();
        if graph.inputs().is_empty() {
            let plan = ReferenceBackend.prepare(&graph, &outputs, &[], engine.options)?;
            let (mut made, _) = plan.forward(&Views::new(), &engine.run.silent())?;
            return Ok(Planned::Fixed(outputs.iter().filter_map(|name| made.remove(name)).collect()));
        }
        let prepare = || engine.backend.prepare(&graph, &outputs, &[], engine.options);
        let plan = match prepare() {
            // Other plans hold memory, too.
            Err(BackendError::DeviceMemory(_)) if self.forget() => prepare()?,
            plan => plan?,
        };
        let read = graph.inputs().iter().map(|id| graph.node(*id).name());
        let inputs = read.filter_map(|n| Some((names.iter().position(|own| own == n)?, n.to_string())));
        Ok(Planned::Plan { plan, inputs: inputs.collect(), outputs })
    }

    /// A block with the leading axis of targets on what depends on the seed.
    fn batched(
        &self,
        graph: Graph<Prim>,
        block: &Block,
        names: &[String],
    ) -> Result<Graph<Prim>, RuntimeError> {
        let wide: Vec<&str> =
            names.iter().zip(&block.inputs).filter(|(_, (_, wide))| *wide).map(|(n, _)| n.as_str()).collect();
        let mut graph = batch(&graph, &wide, self.targets).map_err(RuntimeError::Batch)?;
        // What is zero for want of tokens depends on no input any more.
        let ranks = block.graph.outputs().iter().map(|(_, v)| block.graph.ty(*v).rank());
        let narrow: Vec<usize> = ranks
            .zip(&block.outputs)
            .zip(graph.outputs())
            .enumerate()
            .filter(|(_, ((rank, (_, wide)), (_, v)))| *wide && graph.ty(*v).rank() == *rank)
            .map(|(i, _)| i)
            .collect();
        let mut outputs = graph.outputs().to_vec();
        for i in narrow {
            let v = outputs[i].1;
            let ty = graph.ty(v).clone();
            let to = Shape([&[Dim::known(self.targets as i64)], &ty.shape.0[..]].concat());
            let (name, origin) = (outputs[i].0.to_string(), graph.node(v.node).origin.clone());
            let ty = TensorType { dtype: ty.dtype, shape: to.clone() };
            outputs[i].1 = graph.add_value(Prim::Expand(prim::Expand { to }), &name, ty, origin, &[v]);
        }
        graph.set_outputs(outputs);
        graph.check().map_err(RuntimeError::Shapes)?;
        Ok(graph)
    }
}

impl Plans {
    fn get(&mut self, key: &Key) -> Option<Arc<Planned>> {
        self.clock += 1;
        let (used, plan) = self.by_key.get_mut(key)?;
        *used = self.clock;
        Some(plan.clone())
    }

    /// Keeps a plan, and drops that of measured dimensions which was not used for longest when there are too many.
    fn insert(&mut self, key: Key, plan: Arc<Planned>) {
        self.clock += 1;
        self.by_key.insert(key, (self.clock, plan));
        let measured = || self.by_key.iter().filter(|((_, sizes), _)| !sizes.is_empty());
        if measured().count() > PLANS
            && let Some(oldest) = measured().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            self.by_key.remove(&oldest);
        }
    }
}

impl State {
    fn find<'a>(
        &'a self,
        source: &'a Source,
        inputs: &'a Views<'_>,
        seed: Option<&'a Tensor>,
    ) -> Option<TensorView<'a>> {
        match source {
            Source::Given(name) if name == SEED => seed.map(Tensor::view),
            Source::Given(name) => inputs.get(name).cloned(),
            Source::Made(at) => self.values[*at].as_ref().map(Tensor::view),
            Source::Weight(t) => Some(t.view()),
        }
    }

    fn measured(
        &mut self,
        symbol: &Arc<str>,
        node: &str,
        value: Option<TensorView<'_>>,
    ) -> Result<(), RuntimeError> {
        let Some(value) = value.and_then(|t| t.to_i64().first().copied()) else { return Ok(()) };
        if value < 0 {
            return Err(RuntimeError::Measured { symbol: symbol.to_string(), node: node.into(), value });
        }
        self.sizes.insert(symbol.clone(), value);
        Ok(())
    }
}
