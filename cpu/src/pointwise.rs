//! Elementwise expressions, whole: what lies between their nodes never reaches memory.

use std::collections::{HashMap, HashSet};

use dlbc_backend::{Stage, count_reads};
use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{Binary, Prim, Unary};
use dlbc_ops::tensor::DType;
use tract_onnx::tract_core::internal::*;

use super::cheap::{cheap, unary};
use super::gemm::{Loop, widest};
use super::loops::guarded_div;
use super::parallel::{chunks, made};
use super::products::Chains;

/// Elements that go through the expression at a time: a stack of them stays in the first cache.
const BLOCK: usize = 512;

/// Elements of a task.
const TASK: usize = 32 * BLOCK;

/// Nodes of an expression that is computed again by each of its readers rather than kept.
const SMALL: usize = 6;

/// Readers up to which it is.
const READERS: usize = 3;

/// How an operand is spread over the result: element `i` reads `(i / inner) % period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    inner: usize,
    period: usize,
}

/// One step on a stack of blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Code {
    /// Puts a block of an operand on the stack.
    Load(usize, Spread),
    /// Changes the topmost block.
    Unary(Unary),
    /// Takes the topmost block as the second operand and changes the one below.
    Binary(Binary),
}

/// An expression as an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Pointwise {
    /// Dimensions of the result and of all that is computed on the way.
    pub dims: Vec<usize>,
    /// The expression, operands before operations.
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
        let y = made(&self.dims, |y| {
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

/// Elements of a result from one on.
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
    fn depth(&self) -> usize {
        let (mut now, mut most) = (0usize, 0);
        for code in &self.codes {
            match code {
                Code::Load(..) => now += 1,
                Code::Unary(_) => {}
                Code::Binary(_) => now -= 1,
            }
            most = most.max(now);
        }
        most
    }

    #[inline(always)]
    fn block(&self, inputs: &[&[f32]], at: usize, y: &mut [f32], stack: &mut [[f32; BLOCK]]) {
        let (len, mut top) = (y.len(), 0);
        for code in &self.codes {
            match code {
                Code::Load(i, spread) => {
                    load(inputs[*i], *spread, at, &mut stack[top][..len]);
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
fn load(x: &[f32], spread: Spread, at: usize, to: &mut [f32]) {
    let Spread { inner, period } = spread;
    if period == 1 {
        to.fill(x[0]);
        return;
    }
    let (mut i, mut within) = ((at / inner) % period, at % inner);
    let mut rest = to;
    while !rest.is_empty() {
        // With inner 1 a run goes on to the end of the period; else it is one element, spread.
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

/// Whether an expression can have this node.
fn takes(graph: &Graph<Prim>, id: NodeId) -> bool {
    let known = match graph.op(id) {
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
    let own = Value { node: id, slot: 0 };
    let float = |v: Value| graph.ty(v).dtype == DType::F32;
    known && float(own) && inputs.iter().all(|v| float(*v) && spread(graph, own, *v).is_some())
}

/// How `other` is spread over `full`; `None` when its axes do not lie together.
fn spread(graph: &Graph<Prim>, full: Value, other: Value) -> Option<Spread> {
    let (full, own) = (graph.ty(full).shape.as_known()?, graph.ty(other).shape.as_known()?);
    let own = [vec![1; full.len().checked_sub(own.len())?], own].concat();
    let first = own.iter().position(|d| *d != 1).unwrap_or(full.len());
    let end = own.iter().rposition(|d| *d != 1).map_or(full.len(), |i| i + 1);
    if (first..end).any(|i| own[i] != full[i]) {
        return None;
    }
    let period = own[first.min(end)..end].iter().product::<usize>();
    Some(Spread { inner: full[end..].iter().product::<usize>().max(1), period: period.max(1) })
}

/// The expressions of a stage.
pub struct Expressions {
    /// Nodes that are roots of expressions.
    roots: HashSet<NodeId>,
    /// Nodes that are computed within them alone.
    inner: HashSet<NodeId>,
}

/// Finds the expressions of a stage, outside of chains.
pub fn find(graph: &Graph<Prim>, stage: &Stage, chains: &Chains) -> Expressions {
    let reads = count_reads(graph, stage);
    let outputs: HashSet<NodeId> = stage.outputs.iter().map(|v| v.node).collect();
    let free = |id: &NodeId| !chains.inner.contains(id) && !chains.by_end.contains_key(id);
    let roots: HashSet<NodeId> =
        stage.nodes.iter().filter(|id| free(id) && takes(graph, **id)).copied().collect();
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
        let own = 1 + graph.node_inputs(*id).iter().map(below).sum::<usize>();
        size.insert(*id, own);
        let fits = |r: &NodeId| roots.contains(r) && graph.node(*r).types[0] == graph.node(*id).types[0];
        let read = readers.get(id).is_some_and(|r| r.iter().all(fits));
        let few = reads.get(id).is_some_and(|n| *n <= READERS);
        if own <= SMALL && few && read && !outputs.contains(id) {
            inner.insert(*id);
        }
    }
    Expressions { roots, inner }
}

impl Expressions {
    /// Whether a node is the root of an expression that is to be made.
    pub fn makes(&self, id: NodeId) -> bool {
        self.roots.contains(&id) && !self.inner.contains(&id)
    }

    /// Whether a node is computed within others.
    pub fn within(&self, id: NodeId) -> bool {
        self.inner.contains(&id)
    }

    /// The expression of a root and its operands.
    pub fn build(&self, graph: &Graph<Prim>, root: NodeId) -> (Pointwise, Vec<Value>) {
        let own = Value { node: root, slot: 0 };
        let dims = graph.ty(own).shape.as_known().unwrap_or_default();
        let mut expression = Pointwise { dims, codes: vec![] };
        let mut operands = vec![];
        self.write(graph, own, own, &mut expression.codes, &mut operands);
        (expression, operands)
    }

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
            // `takes` has seen that the operand can be spread.
            codes.extend(spread(graph, root, v).map(|s| Code::Load(i, s)));
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
