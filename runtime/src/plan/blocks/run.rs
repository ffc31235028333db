//! Execution of a program in blocks, with a cache of the blocks' plans by their sizes.

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

use super::block::{Block, Partition, Source};
use super::cut::{Weights, cut};
use crate::error::RuntimeError;
use crate::plan::simplify::simplify;

/// Capacity of the cache for plans of blocks with data-dependent dimensions.
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
    partition: Partition,
    /// Number of targets that share a reverse.
    targets: usize,
    plans: Mutex<PlanCache>,
}

/// Cache of the plans of blocks.
#[derive(Default)]
struct PlanCache {
    /// Plans with the time of their last use.
    by_key: HashMap<Key, (u64, Arc<BlockPlan>)>,
    /// Number of uses so far, which serves as time.
    clock: u64,
}

/// Key of a cached plan: the class of the block, and the sizes of its data-dependent dimensions.
type Key = (usize, Vec<i64>);

/// A plan that the blocks of a class share for some sizes.
enum BlockPlan {
    /// Outputs of a block that has no inputs.
    Fixed(Vec<Tensor>),
    /// A plan of the backend, with the index in [`Block::inputs`] and the name of each input that remains after
    /// simplification.
    Plan { plan: Box<dyn Plan>, inputs: Vec<(usize, String)>, outputs: Vec<Output> },
}

/// Views that come from outside the program.
#[derive(Clone, Copy)]
struct Feed<'a> {
    /// Inputs of the program, by name.
    inputs: &'a Views<'a>,
    /// Seed; `None` in the forward.
    seed: Option<&'a Tensor>,
}

/// The values of a run between its blocks.
#[derive(Clone)]
pub(crate) struct State {
    /// Value slots; `None` before a block fills them and after they are freed.
    slots: Vec<Option<Tensor>>,
    /// Sizes of the data-dependent dimensions that have been computed.
    sizes: Bindings,
    /// Time of planning so far, in seconds.
    pub prepare: f64,
}

impl Blocks {
    /// Cuts a program into blocks that compute the outputs `forward` and `reverse`. `bindings` has the dimensions of its
    /// inputs.
    ///
    /// # Errors
    /// When a dimension is negative, or dimensions depend on one another in a cycle.
    pub fn new(
        program: &Graph<Prim>,
        bindings: &Bindings,
        [forward, reverse]: [&[Output]; 2],
        targets: usize,
        weights: Weights,
    ) -> Result<Blocks, RuntimeError> {
        let partition = cut(program, bindings, forward, reverse, weights)?;
        Ok(Blocks { partition, targets, plans: Mutex::default() })
    }

    /// Computes the forward outputs.
    ///
    /// # Errors
    /// When planning fails, a value is out of range for a node, or a data-dependent dimension is negative.
    pub fn forward(&self, engine: Engine<'_>, inputs: &Views<'_>) -> Result<(Outputs, State), RuntimeError> {
        let Partition { forward_blocks, input_dimensions, forward_outputs, slots, .. } = &self.partition;
        let mut state = State { slots: vec![None; *slots], sizes: Bindings::new(), prepare: 0.0 };
        for (symbol, name) in input_dimensions {
            state.bind_size(symbol, name, inputs.get(name).cloned())?;
        }
        let feed = Feed { inputs, seed: None };
        self.run_blocks(0..*forward_blocks, engine, feed, &mut state)?;
        Ok((state.results(forward_outputs, feed), state))
    }

    /// Computes the reverse outputs from a seed, `[target, ...]` for several targets.
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
        let Partition { blocks, forward_blocks, reverse_outputs, .. } = &self.partition;
        let feed = Feed { inputs, seed: Some(seed) };
        self.run_blocks(*forward_blocks..blocks.len(), engine, feed, state)?;
        Ok(state.results(reverse_outputs, feed))
    }

    /// Returns the memory of all cached plans together.
    pub fn memory(&self) -> MemoryReport {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = MemoryReport::default();
        for (_, planned) in plans.by_key.values() {
            if let BlockPlan::Plan { plan, .. } = &**planned {
                let memory = plan.memory();
                total.constant_bytes += memory.constant_bytes;
                total.saved_bytes += memory.saved_bytes;
                total.plan_bytes += memory.plan_bytes;
                total.segments = total.segments.max(memory.segments);
                total.spilled_kernels += memory.spilled_kernels;
            }
        }
        total
    }

    /// Empties the plan cache. Returns whether it held any plan.
    fn clear_plans(&self) -> bool {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        !std::mem::take(&mut plans.by_key).is_empty()
    }

    /// Runs a range of blocks in the backend's thread pool.
    fn run_blocks(
        &self,
        blocks: Range<usize>,
        engine: Engine<'_>,
        feed: Feed<'_>,
        state: &mut State,
    ) -> Result<(), RuntimeError> {
        let mut outcome = Ok(());
        engine.backend.with_thread_pool(engine.options, &mut || {
            let total = blocks.len();
            let blocks = &self.partition.blocks[blocks.clone()];
            outcome = blocks.iter().enumerate().try_for_each(|(done, block)| {
                engine.run.check()?;
                engine.run.report(match feed.seed {
                    None => Progress::Forward { done, total },
                    Some(_) => Progress::Reverse { done, total },
                });
                self.run_block(block, engine, feed, state)
            });
        })?;
        outcome
    }

    /// Runs a block: fills its value slots, binds the dimensions that it computes, and frees the slots that it reads last.
    fn run_block(
        &self,
        block: &Block,
        engine: Engine<'_>,
        feed: Feed<'_>,
        state: &mut State,
    ) -> Result<(), RuntimeError> {
        let clock = Instant::now();
        let planned = self.plan(block, engine, &state.sizes)?;
        state.prepare += clock.elapsed().as_secs_f64();
        let results = match &*planned {
            BlockPlan::Fixed(results) => results.clone(),
            BlockPlan::Plan { plan, inputs: read, outputs } => {
                let mut inputs = Views::new();
                for (index, name) in read {
                    let tensor = state.resolve(&block.inputs[*index].source, feed);
                    let tensor = tensor.ok_or_else(|| BackendError::MissingInput(name.clone()))?;
                    inputs.insert(name.clone(), tensor);
                }
                let mut results = match plan.forward(&inputs, &engine.run.silent()) {
                    Err(error @ BackendError::Node(_)) => {
                        let exact = self.error_of_block(block, engine, &state.sizes, inputs);
                        return Err(exact.unwrap_or(error).into());
                    }
                    outcome => outcome?.0,
                };
                outputs.iter().filter_map(|name| results.remove(name)).collect()
            }
        };
        for (output, tensor) in block.outputs.iter().zip(results) {
            state.slots[output.slot] = Some(tensor);
        }
        for (symbol, slot) in &block.dimensions {
            let node = block.outputs.iter().position(|output| output.slot == *slot);
            let node = node.map_or_else(String::new, |i| block.graph.outputs()[i].0.to_string());
            let value = state.slots[*slot].clone().map(TensorView::from);
            state.bind_size(symbol, &node, value)?;
        }
        for slot in &block.freed_slots {
            state.slots[*slot] = None;
        }
        Ok(())
    }

    /// Runs a block again with a plan that is not shared. The error of a shared plan names the nodes of another block.
    fn error_of_block(
        &self,
        block: &Block,
        engine: Engine<'_>,
        sizes: &Bindings,
        mut tensors: Views<'_>,
    ) -> Option<BackendError> {
        let shared = self.plan(block, engine, sizes).ok()?;
        let unshared = self.make_plan(block, engine, sizes).ok()?;
        let (BlockPlan::Plan { inputs: shared_inputs, .. }, BlockPlan::Plan { plan, inputs, .. }) =
            (&*shared, &unshared)
        else {
            return None;
        };
        let pairs = shared_inputs.iter().zip(inputs);
        let tensors = pairs.filter_map(|((_, name), (_, new))| Some((new.clone(), tensors.remove(name)?)));
        plan.forward(&tensors.collect(), &engine.run.silent()).err()
    }

    /// Returns the plan of a block for the sizes of a run, from the cache or newly made.
    fn plan(
        &self,
        block: &Block,
        engine: Engine<'_>,
        sizes: &Bindings,
    ) -> Result<Arc<BlockPlan>, RuntimeError> {
        let block_sizes = block.symbols.iter().map(|s| sizes.get(s).copied().unwrap_or(-1));
        let key: Key = (block.class, block_sizes.collect());
        if let Some(hit) = self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(hit);
        }
        // Two threads may plan the same block at once; both plans are right.
        let plan = Arc::new(self.make_plan(block, engine, sizes)?);
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).insert(key, plan.clone());
        Ok(plan)
    }

    /// Plans a block for the sizes of a run.
    fn make_plan(
        &self,
        block: &Block,
        engine: Engine<'_>,
        sizes: &Bindings,
    ) -> Result<BlockPlan, RuntimeError> {
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
            let (mut results, _) = plan.forward(&Views::new(), &engine.run.silent())?;
            return Ok(BlockPlan::Fixed(outputs.iter().filter_map(|name| results.remove(name)).collect()));
        }
        let prepare = || engine.backend.prepare(&graph, &outputs, &[], engine.options);
        let plan = match prepare() {
            // Other plans hold memory, too.
            Err(BackendError::DeviceMemory(_)) if self.clear_plans() => prepare()?,
            plan => plan?,
        };
        let read = graph.inputs().iter().map(|id| graph.node(*id).name());
        let inputs = read.filter_map(|n| Some((names.iter().position(|name| name == n)?, n.to_string())));
        Ok(BlockPlan::Plan { plan, inputs: inputs.collect(), outputs })
    }

    /// Adds the leading axis of targets to the values of a block that depend on the seed. `names` are the names of
    /// [`Block::inputs`].
    fn batched(
        &self,
        graph: Graph<Prim>,
        block: &Block,
        names: &[String],
    ) -> Result<Graph<Prim>, RuntimeError> {
        let seeded = names.iter().zip(&block.inputs).filter(|(_, input)| input.depends_on_seed);
        let seeded: Vec<&str> = seeded.map(|(name, _)| name.as_str()).collect();
        let mut graph = batch(&graph, &seeded, self.targets).map_err(RuntimeError::Batch)?;
        // A value that is 0 because an expert has no tokens lost its inputs, and with them the axis.
        let ranks = block.graph.outputs().iter().map(|(_, v)| block.graph.ty(*v).rank());
        let without_axis: Vec<usize> = ranks
            .zip(&block.outputs)
            .zip(graph.outputs())
            .enumerate()
            .filter(|(_, ((rank, output), (_, v)))| output.depends_on_seed && graph.ty(*v).rank() == *rank)
            .map(|(i, _)| i)
            .collect();
        let mut outputs = graph.outputs().to_vec();
        for i in without_axis {
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

impl PlanCache {
    /// Returns a cached plan and marks it as used.
    fn get(&mut self, key: &Key) -> Option<Arc<BlockPlan>> {
        self.clock += 1;
        let (last_use, plan) = self.by_key.get_mut(key)?;
        *last_use = self.clock;
        Some(plan.clone())
    }

    /// Adds a plan. Drops the longest unused plan with data-dependent dimensions when there are more than [`PLANS`].
    fn insert(&mut self, key: Key, plan: Arc<BlockPlan>) {
        self.clock += 1;
        self.by_key.insert(key, (self.clock, plan));
        let droppable = || self.by_key.iter().filter(|((_, sizes), _)| !sizes.is_empty());
        if droppable().count() > PLANS
            && let Some(oldest) =
                droppable().min_by_key(|(_, (last_use, _))| *last_use).map(|(key, _)| key.clone())
        {
            self.by_key.remove(&oldest);
        }
    }
}

impl State {
    /// Returns the tensor of a source; `None` for a missing input or an empty slot.
    fn resolve<'a>(&'a self, source: &'a Source, feed: Feed<'a>) -> Option<TensorView<'a>> {
        match source {
            Source::Input(name) if name == SEED => feed.seed.map(Tensor::view),
            Source::Input(name) => feed.inputs.get(name).cloned(),
            Source::Slot(slot) => self.slots[*slot].as_ref().map(Tensor::view),
            Source::Weight(t) => Some(t.view()),
        }
    }

    /// Returns the outputs of a phase.
    fn results(&self, outputs: &[(Output, Source)], feed: Feed<'_>) -> Outputs {
        let results = outputs
            .iter()
            .filter_map(|(output, source)| Some((output.clone(), self.resolve(source, feed)?.to_tensor())));
        results.collect()
    }

    /// Sets the size of a data-dependent dimension to the integer that `node` computes.
    fn bind_size(
        &mut self,
        symbol: &Arc<str>,
        node: &str,
        value: Option<TensorView<'_>>,
    ) -> Result<(), RuntimeError> {
        let Some(value) = value.and_then(|t| t.to_i64().first().copied()) else { return Ok(()) };
        if value < 0 {
            return Err(RuntimeError::InvalidDimension {
                symbol: symbol.to_string(),
                node: node.into(),
                value,
            });
        }
        self.sizes.insert(symbol.clone(), value);
        Ok(())
    }
}
