//! A program for several seeds at once.
//!
//! What depends on a batched input gets a leading axis of `size` elements; everything else stays as it is and is computed
//! once. Each primitive has its rule in its file, and the rules are chosen so that the products stay products:
//!
//! | primitives | rule |
//! | --- | --- |
//! | elementwise, `Select`, `MatMul` | operands broadcast; the leading axis is moved in front of the longest operand's |
//! | `Conv` and its adjoint, windows | the leading axis is folded into the rows `n` |
//! | `Reduce`, `Softmax`, `Slice`, `Concat`, `Pad`, `Gather`, … | the axis one further |
//! | `Attention`, `AttentionShare` | the leading axis is one more axis of heads; what all share is repeated |
//! | `Scan` | the step is batched; its state always is |
//! | batched weights or indices | a loop: one node for each element, concatenated |
//!
//! The same transformation is `vmap` in JAX [bradbury2018].

use std::collections::{HashMap, HashSet};

use super::{Builder, Prim};
use crate::OpError;
use crate::graph::{Graph, NodeId, Value};
use crate::tensor::{Dim, Shape};

/// `graph` with a leading axis of `size` on the inputs of these names and on all that depends on them.
///
/// Outputs that depend on none of them keep their types.
///
/// # Errors
/// When a node does not work out with the axis.
pub fn batch(graph: &Graph<Prim>, inputs: &[&str], size: usize) -> Result<Graph<Prim>, OpError> {
    let named = |id: &&NodeId| inputs.contains(&graph.node(**id).name());
    let wide: Vec<NodeId> = graph.inputs().iter().filter(named).copied().collect();
    let (mut builder, values) = rewrite(graph.clone(), &wide, &Dim::known(size as i64))?;
    let made = builder.graph_mut();
    let outputs = graph.outputs().iter().map(|(n, v)| (n.clone(), values.get(v).copied().unwrap_or(*v)));
    made.set_outputs(outputs.collect());
    made.remove_unused();
    Ok(builder.finish())
}

/// Adds to `graph` what depends on the inputs `wide` with the leading axis; returns the batched value of each such value.
/// What is batched stays in the graph as it was, unused.
pub(super) fn rewrite(
    mut graph: Graph<Prim>,
    wide: &[NodeId],
    size: &Dim,
) -> Result<(Builder, HashMap<Value, Value>), OpError> {
    let order = graph.topological();
    let mut values = HashMap::new();
    for id in wide {
        let ty = &mut graph.node_mut(*id).types[0];
        ty.shape = lead(size, &ty.shape);
        let v = Value { node: *id, slot: 0 };
        values.insert(v, v);
    }
    let taken: HashSet<NodeId> = graph.inputs().iter().copied().collect();
    let mut builder = Builder::over(graph);
    for id in order.into_iter().filter(|id| !taken.contains(id)) {
        let inputs = builder.graph().node_inputs(id);
        if !inputs.iter().any(|v| values.contains_key(v)) {
            continue;
        }
        let node = builder.graph().node(id);
        let (prim, origin) = (node.op.clone(), node.origin.clone());
        let name = node.name().rsplit_once('/').map_or(node.name(), |(stem, _)| stem).to_string();
        let dims = node.types[0].shape.clone();
        builder.at(&origin, &name);
        let operands: Vec<Operand> = inputs
            .iter()
            .map(|v| Operand { v: values.get(v).copied().unwrap_or(*v), wide: values.contains_key(v) })
            .collect();
        let rule = prim.inner().ok_or_else(TargetAxis::reads_nothing)?;
        let mut axis = TargetAxis { b: &mut builder, size, x: &operands, dims: &dims };
        let made = rule.with_targets(&mut axis)?;
        builder.ok()?;
        values.insert(Value { node: id, slot: 0 }, made);
    }
    Ok((builder, values))
}

fn lead(size: &Dim, shape: &Shape) -> Shape {
    Shape([std::slice::from_ref(size), &shape.0].concat())
}

/// An operand, and whether it has the leading axis.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) v: Value,
    pub(super) wide: bool,
}

/// One node while it gets the leading axis. At least one of its operands has it.
pub struct TargetAxis<'a> {
    pub(super) b: &'a mut Builder,
    pub(super) size: &'a Dim,
    pub(super) x: &'a [Operand],
    /// The shape of the node's result without the axis.
    pub(super) dims: &'a Shape,
}

impl TargetAxis<'_> {
    /// Operand `i` as it is.
    pub fn value(&self, i: usize) -> Value {
        self.x[i].v
    }

    /// Number of operands.
    pub fn count(&self) -> usize {
        self.x.len()
    }

    /// Whether operand `i` has the leading axis.
    pub fn wide(&self, i: usize) -> bool {
        self.x[i].wide
    }

    /// Whether some operand from `i` on has the leading axis.
    pub fn wide_from(&self, i: usize) -> bool {
        self.x[i..].iter().any(|o| o.wide)
    }

    /// The rank of operand `i` without the leading axis.
    pub fn rank(&self, i: usize) -> usize {
        self.b.ty(self.x[i].v).rank() - usize::from(self.x[i].wide)
    }

    /// A shape with the leading axis.
    pub fn lead(&self, shape: &Shape) -> Shape {
        lead(self.size, shape)
    }

    /// `prim` of these operands.
    pub fn add(&mut self, prim: impl Into<Prim>, operands: &[Value]) -> Value {
        self.b.add(prim, operands)
    }

    /// `prim` of the first operand.
    pub fn first(&mut self, prim: impl Into<Prim>) -> Value {
        self.b.add(prim, &[self.x[0].v])
    }

    /// An elementwise primitive: operands broadcast, the leading axis in front of the longest operand's.
    pub fn broadcast(&mut self, prim: impl Into<Prim>) -> Value {
        let rank = (0..self.x.len()).map(|i| self.rank(i)).max().unwrap_or(0);
        let operands: Vec<Value> = (0..self.x.len()).map(|i| self.aligned(i, rank)).collect();
        self.b.add(prim, &operands)
    }

    /// A primitive that computes each row of operands on its own: the leading axis is folded into the rows of the first
    /// `data` operands.
    pub fn rows(&mut self, prim: impl Into<Prim>, data: usize) -> Value {
        let mut operands: Vec<Value> = (0..data).map(|i| self.folded(i)).collect();
        operands.extend(self.x[data..].iter().map(|o| o.v));
        let y = self.b.add(prim, &operands);
        let to = self.lead(self.dims);
        self.b.reshape(y, &to)
    }

    /// An attention of the first `data` operands: the leading axis is one more axis of heads, and what all share is repeated.
    pub fn heads(&mut self, prim: impl Into<Prim>, data: usize) -> Value {
        let rank = self.rank(0);
        let mut operands: Vec<Value> = (0..data).map(|i| self.widened(i)).collect();
        operands.extend((data..self.x.len()).map(|i| self.aligned(i, rank)).collect::<Vec<_>>());
        self.b.add(prim, &operands)
    }

    /// The error of a primitive without operands, which can have no axis of targets.
    pub fn reads_nothing() -> OpError {
        OpError::Invalid("what reads nothing depends on nothing".into())
    }

    /// A batched operand with axes of 1 after the leading one, so that it broadcasts as one of `rank` axes did; others as
    /// they are.
    pub fn aligned(&mut self, i: usize, rank: usize) -> Value {
        let missing = rank - self.rank(i).min(rank);
        let v = self.x[i].v;
        if !self.x[i].wide || missing == 0 {
            return v;
        }
        let own = self.b.ty(v).shape;
        let ones = vec![Dim::known(1); missing];
        let to = Shape([&own.0[..1], &ones, &own.0[1..]].concat());
        self.b.reshape(v, &to)
    }

    /// An operand with the leading axis: repeated when it has none.
    pub fn widened(&mut self, i: usize) -> Value {
        widened(self.b, self.size, self.x[i])
    }

    /// An operand with the leading axis folded into its first.
    fn folded(&mut self, i: usize) -> Value {
        let v = self.widened(i);
        let own = self.b.ty(v).shape.0;
        let to = Shape([&[&own[0] * &own[1]], &own[2..]].concat());
        self.b.reshape(v, &to)
    }

    /// Moves an axis.
    pub fn moved(&mut self, v: Value, from: usize, to: usize) -> Value {
        let mut perm: Vec<usize> = (0..self.b.ty(v).rank()).collect();
        let axis = perm.remove(from);
        perm.insert(to, axis);
        self.b.transpose(v, &perm)
    }

    /// A node for each element of the leading axis, concatenated.
    pub fn each(&mut self, prim: impl Into<Prim>) -> Value {
        let (prim, size) = (prim.into(), self.size.as_known().unwrap_or(0));
        let parts: Vec<Value> = (0..size)
            .map(|i| {
                let operands: Vec<Value> = self.x.iter().map(|o| row(self.b, *o, i)).collect();
                let y = self.b.add(prim.clone(), &operands);
                self.b.reshape(y, &lead(&Dim::known(1), self.dims))
            })
            .collect();
        self.b.concat(&parts, 0)
    }
}

/// An operand with the leading axis: repeated when it has none.
pub(super) fn widened(b: &mut Builder, size: &Dim, o: Operand) -> Value {
    if o.wide {
        return o.v;
    }
    let to = lead(size, &b.ty(o.v).shape);
    b.expand(o.v, &to)
}

/// Element `i` of an operand along the leading axis; an operand without it as it is.
fn row(b: &mut Builder, o: Operand, i: i64) -> Value {
    if !o.wide {
        return o.v;
    }
    let row = b.slice(o.v, 0, &Dim::known(i), &Dim::known(1));
    let own = Shape(b.ty(row).shape.0[1..].to_vec());
    b.reshape(row, &own)
}
