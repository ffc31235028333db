//! Fused elementwise expressions: intermediate values stay in the cache.

use std::collections::{HashMap, HashSet};

use dlbc_backend::{Stage, count_reads};
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{Binary, Prim, Unary};
use dlbc_ops::tensor::DType;
use tract_onnx::tract_core::internal::*;

use super::cheap::{cheap, unary};
use super::gemm::{Loop, widest};
use super::loops::guarded_div;
use super::parallel::{chunks, new_tensor};
use super::products::Chains;

/// Elements per block; a stack of blocks stays in the L1 cache.
const BLOCK: usize = 512;

/// Elements per task.
const TASK: usize = 32 * BLOCK;

/// Maximum number of nodes of an expression that each of its readers recomputes.
const MAX_RECOMPUTED: usize = 6;

/// Maximum number of readers of a recomputed expression.
const MAX_READERS: usize = 3;

/// Broadcast of an operand to the result: element `i` reads element `(i / inner) % period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broadcast {
    inner: usize,
    period: usize,
}

/// Instruction on a stack of blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Code {
    /// Pushes a block of an operand, given by its index.
    Load(usize, Broadcast),
    /// Applies a function to the topmost block.
    Unary(Unary),
    /// Pops the topmost block and applies a function to the block below, with the popped one as second operand.
    Binary(Binary),
}

/// The operator of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Pointwise {
    /// Dimensions of the result and of all intermediate values.
    pub dims: Vec<usize>,
    /// The expression in postfix order.
    pub codes: Vec<Code>,
}

// Parameters of activations are never NaN.
impl Eq for Pointwise {}

impl Op for Pointwise {
    fn name(&self) -> StaticName {
        "dlbc.Pointwise".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Pointwise {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let inputs = super::slices::slices(&inputs)?;
        let y = new_tensor(&self.dims, |y| {
            chunks(y, TASK, |task, y| {
                widest(Task { expression: self, inputs: &inputs, at: task * TASK, y });
            });
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Pointwise {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.dims)))
    }

    as_op!();
}

/// A task: the elements of the result from `at` on.
struct Task<'a> {
    expression: &'a Pointwise,
    inputs: &'a [&'a [f32]],
    at: usize,
    y: &'a mut [f32],
}

impl Loop for Task<'_> {
    #[inline(always)]
    fn run(self) {
        let mut stack = vec![[0.0f32; BLOCK]; self.expression.depth()];
        for (i, y) in self.y.chunks_mut(BLOCK).enumerate() {
            self.expression.block(self.inputs, self.at + i * BLOCK, y, &mut stack);
        }
    }
}

impl Pointwise {
    /// Maximum height of the stack.
    fn depth(&self) -> usize {
        let (mut height, mut max_height) = (0usize, 0);
        for code in &self.codes {
            match code {
                Code::Load(..) => height += 1,
                Code::Unary(_) => {}
                Code::Binary(_) => height -= 1,
            }
            max_height = max_height.max(height);
        }
        max_height
    }

    #[inline(always)]
    fn block(&self, inputs: &[&[f32]], at: usize, y: &mut [f32], stack: &mut [[f32; BLOCK]]) {
        let (len, mut top) = (y.len(), 0);
        for code in &self.codes {
            match code {
                Code::Load(i, broadcast) => {
                    load(inputs[*i], *broadcast, at, &mut stack[top][..len]);
                    top += 1;
                }
                Code::Unary(f) => unary(*f, &mut stack[top - 1][..len]),
                Code::Binary(f) => {
                    top -= 1;
                    let (below, above) = stack.split_at_mut(top);
                    binary(*f, &mut below[top - 1][..len], &above[0][..len]);
                }
            }
        }
        y.copy_from_slice(&stack[0][..len]);
    }
}

#[inline(always)]
fn load(x: &[f32], broadcast: Broadcast, at: usize, to: &mut [f32]) {
    let Broadcast { inner, period } = broadcast;
    if period == 1 {
        to.fill(x[0]);
        return;
    }
    let (mut i, mut within) = ((at / inner) % period, at % inner);
    let mut rest = to;
    while !rest.is_empty() {
        // With `inner` 1, a run extends to the end of the period; otherwise it repeats one element.
        let len = if inner == 1 { period - i } else { inner - within }.min(rest.len());
        let (now, later) = rest.split_at_mut(len);
        if inner == 1 {
            now.copy_from_slice(&x[i..i + len]);
            i = 0;
        } else {
            now.fill(x[i]);
            i = (i + 1) % period;
            within = 0;
        }
        rest = later;
    }
}

#[inline(always)]
fn binary(f: Binary, a: &mut [f32], b: &[f32]) {
    let pairs = a.iter_mut().zip(b);
    match f {
        Binary::Add => pairs.for_each(|(a, b)| *a += b),
        Binary::Sub => pairs.for_each(|(a, b)| *a -= b),
        Binary::Mul => pairs.for_each(|(a, b)| *a *= b),
        Binary::Div => pairs.for_each(|(a, b)| *a /= b),
        Binary::GuardedDiv => pairs.for_each(|(a, b)| *a = guarded_div(*a, *b)),
        Binary::Max => pairs.for_each(|(a, b)| *a = if *a < *b { *b } else { *a }),
        Binary::Min => pairs.for_each(|(a, b)| *a = if *a > *b { *b } else { *a }),
        _ => {}
    }
}

/// Returns whether expressions support the node.
fn supports(graph: &Graph<Prim>, id: NodeId) -> bool {
    let supported = match graph.op(id) {
        Prim::Unary(f) => cheap(*f),
        Prim::Binary(f) => matches!(
            f,
            Binary::Add
                | Binary::Sub
                | Binary::Mul
                | Binary::Div
                | Binary::GuardedDiv
                | Binary::Max
                | Binary::Min
        ),
        _ => false,
    };
    let inputs = graph.node_inputs(id);
    let result = Value { node: id, slot: 0 };
    let float = |v: Value| graph.ty(v).dtype == DType::F32;
    supported && float(result) && inputs.iter().all(|v| float(*v) && broadcast(graph, result, *v).is_some())
}

/// Returns the broadcast of `other` to `full`; `None` if the axes of `other` are not adjacent.
fn broadcast(graph: &Graph<Prim>, full: Value, other: Value) -> Option<Broadcast> {
    let (full, dims) = (graph.ty(full).shape.as_known()?, graph.ty(other).shape.as_known()?);
    let dims = [vec![1; full.len().checked_sub(dims.len())?], dims].concat();
    let first = dims.iter().position(|d| *d != 1).unwrap_or(full.len());
    let end = dims.iter().rposition(|d| *d != 1).map_or(full.len(), |i| i + 1);
    if (first..end).any(|i| dims[i] != full[i]) {
        return None;
    }
    let period = dims[first.min(end)..end].iter().product::<usize>();
    Some(Broadcast { inner: full[end..].iter().product::<usize>().max(1), period: period.max(1) })
}

/// The expressions of a stage.
pub struct Expressions {
    /// Nodes that expressions support. Those that are not `inner` are roots of expressions.
    roots: HashSet<NodeId>,
    /// Nodes that are computed only within expressions.
    inner: HashSet<NodeId>,
}

/// Finds the expressions of a stage among nodes that are not part of chains.
pub fn find(graph: &Graph<Prim>, stage: &Stage, chains: &Chains) -> Expressions {
    let reads = count_reads(graph, stage);
    let outputs: HashSet<NodeId> = stage.outputs.iter().map(|v| v.node).collect();
    let free = |id: &NodeId| !chains.inner.contains(id) && !chains.by_end.contains_key(id);
    let roots: HashSet<NodeId> =
        stage.nodes.iter().filter(|id| free(id) && supports(graph, **id)).copied().collect();
    let mut readers: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in &stage.nodes {
        for v in graph.node_inputs(*id) {
            readers.entry(v.node).or_default().push(*id);
        }
    }
    let mut inner = HashSet::new();
    let mut size: HashMap<NodeId, usize> = HashMap::new();
    for id in stage.nodes.iter().filter(|id| roots.contains(id)) {
        let below = |v: &Value| if inner.contains(&v.node) { size[&v.node] } else { 0 };
        let node_size = 1 + graph.node_inputs(*id).iter().map(below).sum::<usize>();
        size.insert(*id, node_size);
        let fits = |r: &NodeId| roots.contains(r) && graph.node(*r).types[0] == graph.node(*id).types[0];
        let read = readers.get(id).is_some_and(|r| r.iter().all(fits));
        let few = reads.get(id).is_some_and(|n| *n <= MAX_READERS);
        if node_size <= MAX_RECOMPUTED && few && read && !outputs.contains(id) {
            inner.insert(*id);
        }
    }
    Expressions { roots, inner }
}

impl Expressions {
    /// Returns whether a node is the root of an expression.
    pub fn is_root(&self, id: NodeId) -> bool {
        self.roots.contains(&id) && !self.inner.contains(&id)
    }

    /// Returns whether a node is computed only within expressions.
    pub fn is_inner(&self, id: NodeId) -> bool {
        self.inner.contains(&id)
    }

    /// Builds the expression of a root; also returns its operands.
    pub fn build(&self, graph: &Graph<Prim>, root: NodeId) -> (Pointwise, Vec<Value>) {
        let result = Value { node: root, slot: 0 };
        let dims = graph.ty(result).shape.as_known().unwrap_or_default();
        let mut expression = Pointwise { dims, codes: vec![] };
        let mut operands = vec![];
        self.write(graph, result, result, &mut expression.codes, &mut operands);
        (expression, operands)
    }

    /// Appends the instructions that compute `v`.
    fn write(
        &self,
        graph: &Graph<Prim>,
        root: Value,
        v: Value,
        codes: &mut Vec<Code>,
        operands: &mut Vec<Value>,
    ) {
        if v != root && !self.inner.contains(&v.node) {
            let i = operands.iter().position(|o| *o == v).unwrap_or(operands.len());
            if i == operands.len() {
                operands.push(v);
            }
            // `supports` has checked that the operand broadcasts.
            codes.extend(broadcast(graph, root, v).map(|s| Code::Load(i, s)));
            return;
        }
        for operand in graph.node_inputs(v.node) {
            self.write(graph, root, operand, codes, operands);
        }
        match graph.op(v.node) {
            Prim::Unary(f) => codes.push(Code::Unary(*f)),
            Prim::Binary(f) => codes.push(Code::Binary(*f)),
            _ => {}
        }
    }
}
