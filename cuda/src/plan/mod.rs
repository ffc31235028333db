//! From a program to launches: views, chains, kernels, and how long each buffer lives.

mod chain;
mod expression;
mod index;
mod node;
mod order;
mod pick;
mod prim;
mod product;
mod recompute;
mod scores;
#[cfg(test)]
mod tests;
mod tiled;
mod transpose;
mod view;
mod windows;

pub(crate) use view::View;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use dlbc_backend::{BackendError, Stage, Unsupported, count_reads, split_stages};
use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::Prim;
use dlbc_ops::program::Output;
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{Kernel, Params, Region};

use crate::memory::{Interval, place};
use dlbc_backend::Precision;
use expression::Expression;
use recompute::Cut;

/// Where a buffer lies.
pub(crate) enum Home {
    /// In the plan's block of memory.
    Arena,
    /// A constant of the program: on the device once, whatever the plans.
    Constant(Tensor),
    /// Words that the plan itself needs, in its block.
    Table(Vec<u32>),
}

/// Bytes on the device, and the steps that they live through.
pub(crate) struct Buffer {
    pub(crate) home: Home,
    pub(crate) bytes: u64,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Buffer {
    /// What the memory plan sees: constants take no place.
    pub(crate) fn interval(&self) -> Interval {
        let bytes = match self.home {
            Home::Constant(_) => 0,
            Home::Arena | Home::Table(_) => self.bytes.max(4),
        };
        Interval { bytes, first: self.first, last: self.last.max(self.first) }
    }
}

/// Addresses and sizes of the buffers.
#[derive(Default)]
pub(crate) struct Addresses(Vec<(u64, u64)>);

impl Addresses {
    pub(crate) fn push(&mut self, address: u64, bytes: u64) {
        self.0.push((address, bytes));
    }

    /// Of a view's first element.
    pub(crate) fn of(&self, view: &View) -> u64 {
        self.0[view.buffer].0.wrapping_add_signed(view.offset * i64::from(view.kind.bytes()))
    }

    /// The buffer of a view.
    pub(crate) fn region(&self, view: &View) -> Region {
        let (address, bytes) = self.0[view.buffer];
        Region { address, bytes }
    }
}

/// Makes a parameter block from the addresses.
type Block = Box<dyn Fn(&Addresses) -> Vec<u8> + Send>;

/// A launch before addresses are known.
pub(crate) struct Step {
    pub(crate) kernel: usize,
    pub(crate) grid: [u32; 3],
    pub(crate) params: Block,
    pub(crate) reads: Vec<View>,
    pub(crate) writes: Vec<View>,
    pub(crate) updates: Vec<View>,
}

/// What a launch does with a view.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    Read,
    /// Every word of it.
    Write,
    /// Some words of it, or reads and writes.
    Update,
}

/// A stage of a lowered program.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) steps: Vec<Step>,
    /// Steps that run several times, one after another: which and how often, in order and apart.
    pub(crate) loops: Vec<(Range<usize>, usize)>,
    pub(crate) inputs: Vec<(String, View)>,
    pub(crate) outputs: Vec<(Output, View, DType)>,
    pub(crate) status: Option<View>,
    pub(crate) complaints: Vec<String>,
}

impl Part {
    /// All steps in order: which run as often as what.
    pub(crate) fn runs(&self) -> Vec<(Range<usize>, usize)> {
        let (mut runs, mut at) = (vec![], 0);
        for (steps, times) in &self.loops {
            runs.push((at..steps.start, 1));
            runs.push((steps.clone(), *times));
            at = steps.end;
        }
        runs.push((at..self.steps.len(), 1));
        runs.retain(|(steps, _)| !steps.is_empty());
        runs
    }
}

/// A program as launches.
pub(crate) struct Lowered {
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) kernels: Vec<Kernel>,
    /// What depends on constants alone and runs once, the forward, the reverse.
    pub(crate) parts: [Part; 3],
    pub(crate) saved_bytes: u64,
    /// Segments that the forward is cut into; the values of all but the last are computed again in the reverse.
    pub(crate) segments: usize,
    /// Where each buffer lies in the plan's block, and the block's size.
    pub(crate) offsets: Vec<u64>,
    pub(crate) bytes: u64,
}

/// A value while a program is lowered.
#[derive(Clone)]
enum Made {
    View(View),
    /// An expression that its only reader may take in.
    Expression(Expression),
    /// Scores, which their readers make again tile by tile.
    Scores,
}

/// What is known of the values of one graph: the program's, or a step's of a scan.
struct Scope<'a> {
    graph: &'a Graph<Prim>,
    made: HashMap<Value, Made>,
    uses: HashMap<NodeId, usize>,
    /// Nodes that are made tile by tile.
    scores: HashSet<NodeId>,
    /// Of a softmax of scores: each row's maximum and sum of exponentials.
    statistics: HashMap<NodeId, [View; 2]>,
    /// The product that made them in passing: it does so too when it is computed again.
    mixers: HashMap<NodeId, NodeId>,
}

impl<'a> Scope<'a> {
    fn new(graph: &'a Graph<Prim>) -> Scope<'a> {
        Scope {
            graph,
            made: HashMap::new(),
            uses: HashMap::new(),
            scores: HashSet::new(),
            statistics: HashMap::new(),
            mixers: HashMap::new(),
        }
    }
}

/// The part that runs once.
const SETUP: usize = 0;

struct Planner {
    buffers: Vec<Buffer>,
    kernels: Vec<Kernel>,
    kernel_places: HashMap<String, usize>,
    tables: HashMap<Vec<u32>, View>,
    parts: [Part; 3],
    precision: Precision,
    /// The part that steps go to.
    into: usize,
    /// Buffers that the first part makes.
    setup: HashSet<usize>,
    /// The step being made, counted over all parts.
    clock: usize,
}

/// The node being lowered, for messages.
fn wrong(scope: &Scope, id: NodeId, message: impl std::fmt::Display) -> BackendError {
    let node = scope.graph.node(id);
    BackendError::Node(format!("node `{}` ({}): {message}", node.name(), node.op.name()))
}

/// Lowers a program whose types are all known.
///
/// The forward is cut into `segments` where there are more than 1; what they compute is computed again in the reverse.
///
/// # Errors
/// For an output that does not exist, and for what no kernel can do.
pub(crate) fn lower(
    graph: &Graph<Prim>,
    forward: &[Output],
    reverse: &[Output],
    precision: Precision,
    segments: usize,
) -> Result<Lowered, BackendError> {
    let whole = split_stages(graph, forward, reverse)?;
    let scores = scores::find(graph, &whole);
    let Cut { stages, dropped } = recompute::cut(graph, &whole, &scores, segments);
    let mut p = Planner {
        buffers: vec![],
        kernels: vec![],
        kernel_places: HashMap::new(),
        tables: HashMap::new(),
        parts: [Part::default(), Part::default(), Part::default()],
        into: SETUP,
        setup: HashSet::new(),
        precision,
        clock: 1,
    };
    let mut scope = Scope::new(graph);
    scope.scores = scores;
    let mut constant: HashMap<NodeId, bool> = HashMap::new();
    let mut ends = [0; 2];
    for (i, stage, names) in [(1, &stages.forward, forward), (2, &stages.reverse, reverse)] {
        // What joins a kernel decides on bits: a node that is computed again does so as in the forward.
        if i == 1 {
            scope.uses = count_reads(graph, &whole.forward);
        } else {
            let again = |node: &NodeId| Some((*node, *scope.uses.get(node)?));
            let again: Vec<(NodeId, usize)> = dropped.iter().filter_map(again).collect();
            scope.uses = count_reads(graph, &whole.reverse);
            scope.uses.extend(again);
            dropped.iter().for_each(|node| drop(scope.made.remove(&Value { node: *node, slot: 0 })));
        }
        p.inputs(&mut scope, stage, i);
        for id in &stage.nodes {
            if scope.made.contains_key(&Value { node: *id, slot: 0 }) {
                continue;
            }
            let inputs = graph.node_inputs(*id);
            let from_input = matches!(graph.op(*id), Prim::Input);
            let fixed = !from_input && inputs.iter().all(|v| constant.get(&v.node) == Some(&true));
            constant.insert(*id, fixed);
            p.into = if fixed { SETUP } else { i };
            // Both stages read what setup makes: no reader may take it in.
            let made = p.node(&mut scope, *id)?;
            let made = match made {
                Made::Expression(e) if fixed => Made::View(p.emit(&e)),
                made => made,
            };
            scope.made.insert(Value { node: *id, slot: 0 }, made);
        }
        p.into = i;
        p.outputs(&mut scope, stage, i, names);
        ends[i - 1] = p.clock;
    }
    for part in &p.parts {
        if let Some(status) = &part.status {
            p.buffers[status.buffer].bytes = 4 * part.complaints.len() as u64;
        }
    }
    p.launchable()?;
    // What the reverse reads of the forward stays until its end, so that it can run again.
    let [forward_end, end] = ends;
    let mut saved_bytes = 0;
    for buffer in &mut p.buffers {
        if (1..=forward_end).contains(&buffer.first) && buffer.last > forward_end {
            buffer.last = end;
            saved_bytes += buffer.bytes;
        }
    }
    let intervals: Vec<Interval> = p.buffers.iter().map(Buffer::interval).collect();
    let (offsets, bytes) = place(&intervals);
    let (buffers, kernels, parts) = (p.buffers, p.kernels, p.parts);
    Ok(Lowered { buffers, kernels, parts, saved_bytes, segments, offsets, bytes })
}

/// Blocks along y and z that a device takes.
const MAX_BLOCKS: u32 = 65535;

impl Planner {
    /// Refuses launches that no device takes.
    fn launchable(&self) -> Result<(), BackendError> {
        let steps = self.parts.iter().flat_map(|p| &p.steps);
        let large = steps.filter(|s| s.grid[1].max(s.grid[2]) > MAX_BLOCKS).map(|s| Unsupported {
            node: self.kernels[s.kernel].name.clone(),
            reason: format!("{:?} blocks, up to {MAX_BLOCKS} along the second and third axis", s.grid),
        });
        let nodes: Vec<Unsupported> = large.collect();
        if nodes.is_empty() { Ok(()) } else { Err(BackendError::Unsupported { backend: "cuda", nodes }) }
    }

    fn inputs(&mut self, scope: &mut Scope, stage: &Stage, part: usize) {
        let graph = scope.graph;
        for v in stage.inputs.iter().filter(|v| matches!(graph.op(v.node), Prim::Input)) {
            let view = match scope.made.get(v) {
                Some(Made::View(view)) => view.clone(),
                _ => {
                    let dims = graph.ty(*v).shape.as_known().unwrap_or_default();
                    let view = self.buffer(Kind::of(graph.ty(*v).dtype), &dims);
                    // An input is uploaded before its stage begins, so it takes its place from the start.
                    self.buffers[view.buffer].first = 0;
                    self.buffers[view.buffer].last = usize::MAX;
                    scope.made.insert(*v, Made::View(view.clone()));
                    view
                }
            };
            self.parts[part].inputs.push((graph.value_name(*v).to_string(), view));
        }
    }

    fn outputs(&mut self, scope: &mut Scope, stage: &Stage, part: usize, names: &[Output]) {
        // Saved values stand after the outputs: they are made here too.
        for (i, v) in stage.outputs.iter().enumerate() {
            if scope.scores.contains(&v.node) {
                continue;
            }
            let view = self.view(scope, *v);
            let Some(name) = names.get(i) else { continue };
            let dense = self.dense(&view);
            self.parts[part].outputs.push((name.clone(), dense, scope.graph.ty(*v).dtype));
        }
        self.clock += 1;
        let kept: Vec<usize> = self.parts[part].outputs.iter().map(|(_, v, _)| v.buffer).collect();
        for buffer in kept {
            self.touch(buffer);
        }
    }

    fn touch(&mut self, buffer: usize) {
        let buffer = &mut self.buffers[buffer];
        buffer.last = buffer.last.max(self.clock);
    }

    /// A new dense buffer.
    fn buffer(&mut self, kind: Kind, dims: &[usize]) -> View {
        let bytes = dims.iter().product::<usize>() as u64 * u64::from(kind.bytes());
        // What setup makes stays.
        let (first, last) = match self.into {
            SETUP => {
                self.setup.insert(self.buffers.len());
                (0, usize::MAX)
            }
            _ => (self.clock, self.clock),
        };
        self.buffers.push(Buffer { home: Home::Arena, bytes, first, last });
        View::dense(self.buffers.len() - 1, kind, dims)
    }

    /// Words that kernels read; equal ones are kept once.
    fn table(&mut self, words: Vec<u32>) -> View {
        if let Some(view) = self.tables.get(&words) {
            return view.clone();
        }
        let bytes = 4 * words.len() as u64;
        let view = View::dense(self.buffers.len(), Kind::B, &[words.len()]);
        self.buffers.push(Buffer { home: Home::Table(words.clone()), bytes, first: 0, last: usize::MAX });
        self.tables.insert(words, view.clone());
        view
    }

    fn kernel(&mut self, name: String, emit: impl FnOnce() -> Kernel) -> usize {
        if let Some(place) = self.kernel_places.get(&name) {
            return *place;
        }
        self.kernels.push(emit());
        self.kernel_places.insert(name, self.kernels.len() - 1);
        self.kernels.len() - 1
    }

    /// A step over views, of whose addresses in order `params` makes the parameter block; none without blocks.
    fn launch<P: Params>(
        &mut self,
        kernel: Kernel,
        blocks: u32,
        uses: Vec<(Use, View)>,
        params: impl Fn(&[u64]) -> P + Send + 'static,
    ) {
        if blocks == 0 {
            return;
        }
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let of = |wanted: Use| uses.iter().filter(|(u, _)| *u == wanted).map(|(_, v)| v.clone()).collect();
        let (reads, writes, updates) = (of(Use::Read), of(Use::Write), of(Use::Update));
        let views: Vec<View> = uses.into_iter().map(|(_, v)| v).collect();
        let params = move |at: &Addresses| {
            let addresses: Vec<u64> = views.iter().map(|v| at.of(v)).collect();
            params(&addresses).bytes()
        };
        self.push(Step { kernel, grid: [blocks, 1, 1], params: Box::new(params), reads, writes, updates });
    }

    fn push(&mut self, step: Step) {
        self.clock += 1;
        let touched: Vec<usize> =
            step.reads.iter().chain(&step.writes).chain(&step.updates).map(|v| v.buffer).collect();
        for buffer in touched {
            self.touch(buffer);
        }
        self.parts[self.into].steps.push(step);
    }

    /// The word that this node sets when a value is out of range.
    fn status(&mut self, scope: &Scope, id: NodeId, message: &str) -> View {
        let part = &mut self.parts[self.into];
        let buffers = &mut self.buffers;
        let words = part.status.get_or_insert_with(|| {
            buffers.push(Buffer { home: Home::Arena, bytes: 0, first: 0, last: usize::MAX });
            View::dense(buffers.len() - 1, Kind::B, &[1])
        });
        let view = View { offset: part.complaints.len() as i64, ..words.clone() };
        part.complaints.push(match wrong(scope, id, message) {
            BackendError::Node(text) => text,
            other => other.to_string(),
        });
        view
    }

    /// A value in memory.
    fn view(&mut self, scope: &mut Scope, v: Value) -> View {
        match scope.made.get(&v).cloned() {
            Some(Made::View(view)) => view,
            Some(Made::Expression(e)) => {
                let view = self.emit(&e);
                scope.made.insert(v, Made::View(view.clone()));
                view
            }
            // Nodes come after their operands, and scores are read by those alone that make them again.
            Some(Made::Scores) | None => View::dense(0, Kind::F, &[]),
        }
    }

    /// A value in memory, dense.
    fn dense_view(&mut self, scope: &mut Scope, v: Value) -> View {
        let view = self.view(scope, v);
        if view.is_dense() {
            return view;
        }
        let dense = self.dense(&view);
        scope.made.insert(v, Made::View(dense.clone()));
        dense
    }

    /// The same elements, dense.
    fn dense(&mut self, view: &View) -> View {
        if view.is_dense() {
            return view.clone();
        }
        let copied = self.transpose(view);
        copied.unwrap_or_else(|| self.emit(&Expression::of(view.clone())))
    }

    fn constant(&mut self, t: &Tensor) -> View {
        let kind = Kind::of(t.dtype());
        let bytes = t.elems() as u64 * u64::from(kind.bytes());
        let view = View::dense(self.buffers.len(), kind, t.dims());
        self.buffers.push(Buffer { home: Home::Constant(t.clone()), bytes, first: 0, last: 0 });
        view
    }
}
