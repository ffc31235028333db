//! Lowering of a program to launches: views of buffers, fused elementwise expressions, kernels, and the lifetime of each buffer.

mod activations;
mod buffer;
mod chain;
mod expression;
mod grid;
mod index;
mod joined;
mod launch;
mod masks;
mod narrow;
mod node;
mod order;
mod pairs;
mod partner;
mod pick;
mod prim;
mod product;
mod recompute;
mod rows;
mod scores;
#[cfg(test)]
mod tests;
mod tiled;
mod transpose;
mod view;
mod windows;

pub(crate) use buffer::{Addresses, Buffer, Location};
pub(crate) use view::View;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use dlbc_backend::{BackendError, Precision, Stage, Unsupported, count_reads, split_stages};
use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;
use dlbc_ops::tensor::DType;
use dlbc_ptx::Kernel;
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::storage::Storage;

use crate::memory::{Interval, assign_offsets};
use crate::storages::Storages;
use expression::Expression;
use grid::unlaunchable;
use pairs::Partner;
use recompute::Cut;
use rows::{Unit, units};

/// Builds a parameter block, once addresses are known.
type BuildParams = Box<dyn Fn(&Addresses) -> Vec<u8> + Send>;

/// A launch before addresses are known.
pub(crate) struct Step {
    /// Index of the kernel in [`Lowered::kernels`].
    pub(crate) kernel: usize,
    pub(crate) grid: [u32; 3],
    pub(crate) params: BuildParams,
    /// Views that the kernel reads.
    pub(crate) reads: Vec<View>,
    /// Views of whose buffers the kernel writes every word.
    pub(crate) writes: Vec<View>,
    /// Views of whose buffers the kernel writes some words, or that it reads and writes.
    pub(crate) updates: Vec<View>,
}

/// Access of a launch to the buffer of a view.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    Read,
    /// Writes every word.
    Write,
    /// Writes some words, or reads and writes.
    Update,
}

/// An output of a stage.
pub(crate) struct StageOutput {
    pub(crate) output: Output,
    pub(crate) view: View,
    /// Element type of the output in the program; the device may use another one.
    pub(crate) dtype: DType,
}

/// A stage of a lowered program.
#[derive(Default)]
pub(crate) struct StagePlan {
    pub(crate) steps: Vec<Step>,
    /// Ranges of steps that run several times, and how often; in order and disjoint.
    pub(crate) loops: Vec<(Range<usize>, usize)>,
    pub(crate) inputs: Vec<(String, View)>,
    pub(crate) outputs: Vec<StageOutput>,
    /// Status words, one per entry of `status_messages`; a failing step sets its word.
    pub(crate) status: Option<View>,
    pub(crate) status_messages: Vec<String>,
}

impl StagePlan {
    /// Divides all steps into consecutive ranges, each with the number of times that it runs.
    pub(crate) fn runs(&self) -> Vec<(Range<usize>, usize)> {
        let (mut runs, mut end) = (vec![], 0);
        for (steps, times) in &self.loops {
            runs.push((end..steps.start, 1));
            runs.push((steps.clone(), *times));
            end = steps.end;
        }
        runs.push((end..self.steps.len(), 1));
        runs.retain(|(steps, _)| !steps.is_empty());
        runs
    }
}

/// A program lowered to launches.
pub(crate) struct Lowered {
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) kernels: Vec<Kernel>,
    /// Setup, which depends on constants only and runs once, then forward and reverse.
    pub(crate) stages: [StagePlan; 3],
    /// Bytes of the values that the forward saves for the reverse.
    pub(crate) saved_bytes: u64,
    /// Segments of the forward. The reverse recomputes the values of all but the last segment.
    pub(crate) segments: usize,
    /// Offset of each buffer in the plan's block.
    pub(crate) offsets: Vec<u64>,
    /// Size of the plan's block.
    pub(crate) bytes: u64,
}

/// A value of the program during lowering.
#[derive(Clone)]
enum LoweredValue {
    View(View),
    /// An expression that is not computed yet, so that its only reader can fuse it.
    Expression(Expression),
    /// Attention scores, which their readers recompute tile by tile.
    Scores,
}

/// State of lowering for one graph: the program, or the step of a scan.
struct Scope<'a> {
    graph: &'a Graph<Prim>,
    values: HashMap<Value, LoweredValue>,
    /// Number of readers of each node.
    uses: HashMap<NodeId, usize>,
    /// Attention scores, which are computed tile by tile and not stored.
    scores: HashSet<NodeId>,
    /// Maximum and reciprocal of the sum of exponentials of each row, for each softmax of scores.
    statistics: HashMap<NodeId, [View; 2]>,
    /// For each softmax, the product whose kernel also stores the statistics. It does so again when it is recomputed.
    statistics_source: HashMap<NodeId, NodeId>,
    /// For products of the forward, the product of the reverse that their kernels compute, too.
    partners: HashMap<NodeId, Partner>,
    /// Nodes whose results are stored in bfloat16.
    narrow: HashSet<NodeId>,
}

impl<'a> Scope<'a> {
    fn new(graph: &'a Graph<Prim>) -> Scope<'a> {
        Scope {
            graph,
            values: HashMap::new(),
            uses: HashMap::new(),
            scores: HashSet::new(),
            statistics: HashMap::new(),
            statistics_source: HashMap::new(),
            partners: HashMap::new(),
            narrow: HashSet::new(),
        }
    }
}

/// Index of the stage that runs once.
const SETUP: usize = 0;

/// Builder of the launches and buffers of a program.
struct Planner {
    buffers: Vec<Buffer>,
    kernels: Vec<Kernel>,
    /// Index of each kernel by its name.
    kernel_indices: HashMap<String, usize>,
    tables: HashMap<Vec<u32>, View>,
    /// Masks of scores, and the tiles that they rule out.
    masks: Vec<(View, View)>,
    stages: [StagePlan; 3],
    precision: Precision,
    /// Index of the stage to which steps are appended.
    stage: usize,
    /// Buffers that the setup stage computes.
    setup: HashSet<usize>,
    /// Types of the constants' floats on the device.
    storages: Storages,
    /// Buffers of narrow constants that were widened, by the buffers of the constants.
    widened: HashMap<usize, usize>,
    /// Number of the current step, counted over all stages.
    clock: usize,
}

/// Returns an error that names the node.
fn node_error(scope: &Scope, id: NodeId, message: impl std::fmt::Display) -> BackendError {
    let node = scope.graph.node(id);
    BackendError::Node(format!("node `{}` ({}): {message}", node.name(), node.op.name()))
}

/// Lowers a program whose dimensions are all known.
///
/// With more than one segment, the forward is cut into `segments` and the reverse recomputes their values, which saves memory.
///
/// # Errors
/// When an output does not exist, or a node has no kernel.
pub(crate) fn lower(
    graph: &Graph<Prim>,
    forward: &[Output],
    reverse: &[Output],
    precision: Precision,
    storages: &Storages,
    segments: usize,
) -> Result<Lowered, BackendError> {
    let stages = split_stages(graph, forward, reverse)?;
    let scores = scores::find(graph, &stages);
    let Cut { stages: cut, dropped } = recompute::cut(graph, &stages, &scores, segments);
    let mut p = Planner {
        buffers: vec![],
        kernels: vec![],
        kernel_indices: HashMap::new(),
        tables: HashMap::new(),
        masks: vec![],
        stages: [StagePlan::default(), StagePlan::default(), StagePlan::default()],
        stage: SETUP,
        setup: HashSet::new(),
        storages: storages.clone(),
        widened: HashMap::new(),
        precision,
        clock: 1,
    };
    let mut scope = Scope::new(graph);
    // What a reverse recomputes is lowered node by node; the bits are the same.
    let units = [&cut.forward, &cut.reverse].map(|stage| match segments {
        0 | 1 => units(graph, &stage.nodes, &scores),
        _ => stage.nodes.iter().map(|id| Unit::Node(*id)).collect(),
    });
    // A plan that saves memory keeps nothing for the reverse, and stores no value that it may compute again with other bits.
    if segments < 2 {
        scope.partners = pairs::find(graph, &stages, &scores);
        if precision == Precision::Bf16 {
            scope.narrow = activations::find(graph, &stages, &scores, &units);
        }
    }
    scope.scores = scores;
    let mut constant: HashMap<NodeId, bool> = HashMap::new();
    let mut ends = [0; 2];
    for (i, stage, names) in [(1, &cut.forward, forward), (2, &cut.reverse, reverse)] {
        // Fusion decides on rounding, so a recomputed node is fused as in the forward.
        if i == 1 {
            scope.uses = count_reads(graph, &stages.forward);
        } else {
            let uses_of = |node: &NodeId| Some((*node, *scope.uses.get(node)?));
            let recomputed: Vec<(NodeId, usize)> = dropped.iter().filter_map(uses_of).collect();
            scope.uses = count_reads(graph, &stages.reverse);
            scope.uses.extend(recomputed);
            dropped.iter().for_each(|node| drop(scope.values.remove(&Value { node: *node, slot: 0 })));
        }
        p.inputs(&mut scope, stage, i);
        for unit in &units[i - 1] {
            let id = match unit {
                Unit::Node(id) => id,
                Unit::Rows(ids) => {
                    p.stage = i;
                    p.rows(&mut scope, ids)?;
                    continue;
                }
            };
            if scope.values.contains_key(&Value { node: *id, slot: 0 }) {
                continue;
            }
            let inputs = graph.node_inputs(*id);
            let from_input = matches!(graph.op(*id), Prim::Input);
            let is_constant = !from_input && inputs.iter().all(|v| constant.get(&v.node) == Some(&true));
            constant.insert(*id, is_constant);
            p.stage = if is_constant { SETUP } else { i };
            // Both stages read results of setup, so no reader may fuse them.
            let value = match p.node(&mut scope, *id)? {
                LoweredValue::Expression(e) if is_constant => LoweredValue::View(p.emit(&e)),
                value => value,
            };
            scope.values.insert(Value { node: *id, slot: 0 }, value);
        }
        p.stage = i;
        p.outputs(&mut scope, stage, i, names);
        ends[i - 1] = p.clock;
    }
    for stage in &p.stages {
        if let Some(status) = &stage.status {
            p.buffers[status.buffer].bytes = 4 * stage.status_messages.len() as u64;
        }
    }
    // Joined launches keep their results longer, so a plan that saves memory has none.
    if segments < 2 {
        p.join_launches();
    }
    p.check_grids()?;
    // Saved values live until the end of the reverse, so that it can run again.
    let [forward_end, end] = ends;
    let mut saved_bytes = 0;
    for buffer in &mut p.buffers {
        if (1..=forward_end).contains(&buffer.first) && buffer.last > forward_end {
            buffer.last = end;
            saved_bytes += buffer.bytes;
        }
    }
    let intervals: Vec<Interval> = p.buffers.iter().map(Buffer::interval).collect();
    let (offsets, bytes) = assign_offsets(&intervals);
    let (buffers, kernels, stages) = (p.buffers, p.kernels, p.stages);
    Ok(Lowered { buffers, kernels, stages, saved_bytes, segments, offsets, bytes })
}

impl Planner {
    /// Checks that every grid is within the limits of devices and of the kernels' arithmetic.
    fn check_grids(&self) -> Result<(), BackendError> {
        let steps = self.stages.iter().flat_map(|s| &s.steps);
        let refused = steps.filter_map(|s| {
            let kernel = &self.kernels[s.kernel];
            let reason = unlaunchable(s.grid, kernel.threads)?;
            Some(Unsupported { node: kernel.name.clone(), reason })
        });
        let nodes: Vec<Unsupported> = refused.collect();
        if nodes.is_empty() { Ok(()) } else { Err(BackendError::Unsupported { backend: "cuda", nodes }) }
    }

    /// Creates buffers for the inputs of a stage.
    fn inputs(&mut self, scope: &mut Scope, stage: &Stage, index: usize) {
        let graph = scope.graph;
        for v in stage.inputs.iter().filter(|v| matches!(graph.op(v.node), Prim::Input)) {
            let view = match scope.values.get(v) {
                Some(LoweredValue::View(view)) => view.clone(),
                _ => {
                    let dims = graph.ty(*v).shape.as_known().unwrap_or_default();
                    let view = self.buffer(Kind::of(graph.ty(*v).dtype), &dims);
                    // An input is uploaded before its stage begins, so it lives from the start.
                    self.buffers[view.buffer].first = 0;
                    self.buffers[view.buffer].last = usize::MAX;
                    scope.values.insert(*v, LoweredValue::View(view.clone()));
                    view
                }
            };
            self.stages[index].inputs.push((graph.value_name(*v).to_string(), view));
        }
    }

    /// Computes the outputs of a stage and its saved values.
    fn outputs(&mut self, scope: &mut Scope, stage: &Stage, index: usize, names: &[Output]) {
        // Saved values follow the outputs.
        for (i, v) in stage.outputs.iter().enumerate() {
            if scope.scores.contains(&v.node) {
                continue;
            }
            let Some(output) = names.get(i) else {
                self.stored_view(scope, *v);
                continue;
            };
            let view = self.view(scope, *v);
            let (view, dtype) = (self.contiguous(&view), scope.graph.ty(*v).dtype);
            self.stages[index].outputs.push(StageOutput { output: output.clone(), view, dtype });
        }
        self.clock += 1;
        let buffers: Vec<usize> = self.stages[index].outputs.iter().map(|o| o.view.buffer).collect();
        for buffer in buffers {
            self.touch(buffer);
        }
    }

    /// Extends the lifetime of a buffer to the current step.
    fn touch(&mut self, buffer: usize) {
        let buffer = &mut self.buffers[buffer];
        buffer.last = buffer.last.max(self.clock);
    }

    /// Creates a contiguous buffer.
    fn buffer(&mut self, kind: Kind, dims: &[usize]) -> View {
        self.buffer_in(kind, Storage::F32, dims)
    }

    /// Creates a contiguous buffer whose floats have this type.
    fn buffer_in(&mut self, kind: Kind, storage: Storage, dims: &[usize]) -> View {
        let view = View { storage, ..View::contiguous(self.buffers.len(), kind, dims) };
        let bytes = (view.elems() as u64 * u64::from(view.element_bytes())).next_multiple_of(4);
        // Results of setup live as long as the plan.
        let (first, last) = match self.stage {
            SETUP => {
                self.setup.insert(self.buffers.len());
                (0, usize::MAX)
            }
            _ => (self.clock, self.clock),
        };
        self.buffers.push(Buffer { location: Location::Arena, bytes, first, last });
        view
    }

    /// Returns a table of words that kernels read. Equal tables share a buffer.
    fn table(&mut self, words: Vec<u32>) -> View {
        if let Some(view) = self.tables.get(&words) {
            return view.clone();
        }
        let bytes = 4 * words.len() as u64;
        let view = View::contiguous(self.buffers.len(), Kind::B, &[words.len()]);
        self.buffers.push(Buffer {
            location: Location::Table(words.clone()),
            bytes,
            first: 0,
            last: usize::MAX,
        });
        self.tables.insert(words, view.clone());
        view
    }

    /// Returns a value in memory, as float32 if it is a float; computes it if it is an expression.
    fn view(&mut self, scope: &mut Scope, v: Value) -> View {
        let view = self.stored_view(scope, v);
        self.wide(view)
    }

    /// Returns a value in memory, in the type in which it is stored; computes it if it is an expression.
    fn stored_view(&mut self, scope: &mut Scope, v: Value) -> View {
        match scope.values.get(&v).cloned() {
            Some(LoweredValue::View(view)) => view,
            Some(LoweredValue::Expression(e)) => {
                let view = self.emit_in(&e, self.storage(scope, v.node));
                scope.values.insert(v, LoweredValue::View(view.clone()));
                view
            }
            // Unreachable: nodes follow their operands, and only kernels that recompute scores read them.
            Some(LoweredValue::Scores) | None => View::contiguous(0, Kind::F, &[]),
        }
    }

    /// Returns a value in memory, contiguous; copies it if necessary.
    fn contiguous_view(&mut self, scope: &mut Scope, v: Value) -> View {
        let view = self.view(scope, v);
        if view.is_contiguous() {
            return view;
        }
        let copy = self.contiguous(&view);
        scope.values.insert(v, LoweredValue::View(copy.clone()));
        copy
    }

    /// Returns a contiguous view of the same elements; copies them if necessary.
    fn contiguous(&mut self, view: &View) -> View {
        if view.is_contiguous() {
            return view.clone();
        }
        let is_constant = matches!(self.buffers[view.buffer].location, Location::Constant(..));
        if !is_constant && view.storage != Storage::F32 && view.elems().is_multiple_of(2) {
            return self.emit_in(&Expression::from_view(view.clone()), view.storage);
        }
        let view = &self.wide(view.clone());
        let copy = self.transpose(view);
        copy.unwrap_or_else(|| self.emit(&Expression::from_view(view.clone())))
    }
}
