//! Vectorisation of a program over several targets.
//!
//! Values that depend on a batched input get a leading axis of `size` elements; all others are computed once. Each
//! primitive defines its own rule ([`Primitive::with_targets`](super::Primitive::with_targets)), chosen such that
//! matrix products stay matrix products:
//!
//! | primitives | rule |
//! | --- | --- |
//! | elementwise, `Select`, `MatMul` | operands broadcast; the leading axis stands before the axes of the operand of largest rank |
//! | `Conv` and its adjoint, windows | the leading axis is folded into the rows `n` |
//! | `Reduce`, `Softmax`, `Slice`, `Concat`, `Pad`, `Gather`, … | axis attributes are shifted by one |
//! | `Attention`, `AttentionShare` | the leading axis is another axis of heads; operands without it are repeated |
//! | `Scan` | the step is vectorised; its state always has the leading axis |
//! | batched weights or indices | one node per target, concatenated |
//!
//! JAX calls this transformation `vmap` [bradbury2018].

use std::collections::{HashMap, HashSet};

use super::{Builder, Prim};
use crate::OpError;
use crate::graph::{Graph, NodeId, Value};
use crate::tensor::{Dim, Shape};

/// Adds a leading axis of `size` elements to the named inputs and to all values that depend on them.
///
/// Outputs that depend on none of these inputs keep their types.
///
/// # Errors
/// If a node cannot be typed with the leading axis.
pub fn batch(graph: &Graph<Prim>, inputs: &[&str], size: usize) -> Result<Graph<Prim>, OpError> {
    let named = |id: &&NodeId| inputs.contains(&graph.node(**id).name());
    let batched_inputs: Vec<NodeId> = graph.inputs().iter().filter(named).copied().collect();
    let (mut builder, values) = rewrite(graph.clone(), &batched_inputs, &Dim::known(size as i64))?;
    let batched = builder.graph_mut();
    let outputs = graph.outputs().iter().map(|(n, v)| (n.clone(), values.get(v).copied().unwrap_or(*v)));
    batched.set_outputs(outputs.collect());
    batched.remove_unused();
    Ok(builder.finish())
}

/// Adds batched copies of all values that depend on `batched_inputs` to the graph. Returns the batched copy of each
/// such value; the originals stay, unused.
pub(super) fn rewrite(
    mut graph: Graph<Prim>,
    batched_inputs: &[NodeId],
    size: &Dim,
) -> Result<(Builder, HashMap<Value, Value>), OpError> {
    let order = graph.topological();
    let mut values = HashMap::new();
    for id in batched_inputs {
        let ty = &mut graph.node_mut(*id).types[0];
        ty.shape = with_leading_axis(size, &ty.shape);
        let v = Value { node: *id, slot: 0 };
        values.insert(v, v);
    }
    let graph_inputs: HashSet<NodeId> = graph.inputs().iter().copied().collect();
    let mut builder = Builder::from_graph(graph);
    for id in order.into_iter().filter(|id| !graph_inputs.contains(id)) {
        let inputs = builder.graph().node_inputs(id);
        if !inputs.iter().any(|v| values.contains_key(v)) {
            continue;
        }
        let node = builder.graph().node(id);
        let (prim, origin) = (node.op.clone(), node.origin.clone());
        let name = node.name().rsplit_once('/').map_or(node.name(), |(stem, _)| stem).to_string();
        let dims = node.types[0].shape.clone();
        builder.set_origin(&origin, &name);
        let operands: Vec<Operand> = inputs
            .iter()
            .map(|v| Operand { v: values.get(v).copied().unwrap_or(*v), is_batched: values.contains_key(v) })
            .collect();
        let rule = prim.inner().ok_or_else(TargetAxis::reads_nothing)?;
        let mut axis = TargetAxis { b: &mut builder, size, x: &operands, dims: &dims };
        let batched = rule.with_targets(&mut axis)?;
        builder.ok()?;
        values.insert(Value { node: id, slot: 0 }, batched);
    }
    Ok((builder, values))
}

fn with_leading_axis(size: &Dim, shape: &Shape) -> Shape {
    Shape([std::slice::from_ref(size), &shape.0].concat())
}

/// Operand of a node that is being vectorised.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) v: Value,
    pub(super) is_batched: bool,
}

/// Context in which [`Primitive::with_targets`](super::Primitive::with_targets) vectorises one node. At least one
/// operand has the leading axis.
pub struct TargetAxis<'a> {
    pub(super) b: &'a mut Builder,
    pub(super) size: &'a Dim,
    pub(super) x: &'a [Operand],
    /// Shape of the node's result without the leading axis.
    pub(super) dims: &'a Shape,
}

impl TargetAxis<'_> {
    /// Returns operand `i`, with the leading axis if it has one.
    pub fn value(&self, i: usize) -> Value {
        self.x[i].v
    }

    /// Returns the number of operands.
    pub fn operand_count(&self) -> usize {
        self.x.len()
    }

    /// Returns whether operand `i` has the leading axis.
    pub fn is_batched(&self, i: usize) -> bool {
        self.x[i].is_batched
    }

    /// Returns whether one of the operands from `i` on has the leading axis.
    pub fn any_batched_from(&self, i: usize) -> bool {
        self.x[i..].iter().any(|o| o.is_batched)
    }

    /// Returns the rank of operand `i`, not counting the leading axis.
    pub fn rank(&self, i: usize) -> usize {
        self.b.ty(self.x[i].v).rank() - usize::from(self.x[i].is_batched)
    }

    /// Returns `shape` with the leading axis.
    pub fn with_target_axis(&self, shape: &Shape) -> Shape {
        with_leading_axis(self.size, shape)
    }

    /// Adds a node that computes `prim` of `operands`.
    pub fn add(&mut self, prim: impl Into<Prim>, operands: &[Value]) -> Value {
        self.b.add(prim, operands)
    }

    /// Adds a node that computes `prim` of the first operand.
    pub fn apply_to_first(&mut self, prim: impl Into<Prim>) -> Value {
        self.b.add(prim, &[self.x[0].v])
    }

    /// Adds an elementwise node: operands are aligned such that the leading axis precedes the axes of the operand of
    /// largest rank.
    pub fn broadcast(&mut self, prim: impl Into<Prim>) -> Value {
        let rank = (0..self.x.len()).map(|i| self.rank(i)).max().unwrap_or(0);
        let operands: Vec<Value> = (0..self.x.len()).map(|i| self.aligned(i, rank)).collect();
        self.b.add(prim, &operands)
    }

    /// Adds a node that treats each row of its operands alone: the leading axis is folded into the rows of the first
    /// `data` operands and unfolded in the result.
    pub fn fold_into_rows(&mut self, prim: impl Into<Prim>, data: usize) -> Value {
        let mut operands: Vec<Value> = (0..data).map(|i| self.folded(i)).collect();
        operands.extend(self.x[data..].iter().map(|o| o.v));
        let y = self.b.add(prim, &operands);
        let to = self.with_target_axis(self.dims);
        self.b.reshape(y, &to)
    }

    /// Adds an attention node: the leading axis becomes another axis of heads of the first `data` operands, which are
    /// repeated if they do not have it.
    pub fn as_heads(&mut self, prim: impl Into<Prim>, data: usize) -> Value {
        let rank = self.rank(0);
        let mut operands: Vec<Value> = (0..data).map(|i| self.batched(i)).collect();
        operands.extend((data..self.x.len()).map(|i| self.aligned(i, rank)).collect::<Vec<_>>());
        self.b.add(prim, &operands)
    }

    /// Returns the error of a primitive without operands, which cannot depend on a target.
    pub fn reads_nothing() -> OpError {
        OpError::invalid("operands that depend on the targets", "none of a primitive without operands", "one")
    }

    /// Returns operand `i` with axes of 1 between the leading axis and its own, so that it broadcasts like an operand
    /// of `rank` axes. Operands without the leading axis are returned unchanged.
    pub fn aligned(&mut self, i: usize, rank: usize) -> Value {
        let missing = rank - self.rank(i).min(rank);
        let v = self.x[i].v;
        if !self.x[i].is_batched || missing == 0 {
            return v;
        }
        let shape = self.b.ty(v).shape;
        let ones = vec![Dim::known(1); missing];
        let to = Shape([&shape.0[..1], &ones, &shape.0[1..]].concat());
        self.b.reshape(v, &to)
    }

    /// Returns operand `i` with the leading axis, repeated along it if it does not have one.
    pub fn batched(&mut self, i: usize) -> Value {
        batched(self.b, self.size, self.x[i])
    }

    /// Returns operand `i` with the leading axis folded into its first axis.
    fn folded(&mut self, i: usize) -> Value {
        let v = self.batched(i);
        let dims = self.b.ty(v).shape.0;
        let to = Shape([&[&dims[0] * &dims[1]], &dims[2..]].concat());
        self.b.reshape(v, &to)
    }

    /// Moves axis `from` of a value to position `to`.
    pub fn move_axis(&mut self, v: Value, from: usize, to: usize) -> Value {
        let mut perm: Vec<usize> = (0..self.b.ty(v).rank()).collect();
        let axis = perm.remove(from);
        perm.insert(to, axis);
        self.b.transpose(v, &perm)
    }

    /// Adds one node per target and concatenates the results along the leading axis.
    pub fn per_target(&mut self, prim: impl Into<Prim>) -> Value {
        let (prim, size) = (prim.into(), self.size.as_known().unwrap_or(0));
        let parts: Vec<Value> = (0..size)
            .map(|i| {
                let operands: Vec<Value> = self.x.iter().map(|o| row(self.b, *o, i)).collect();
                let y = self.b.add(prim.clone(), &operands);
                self.b.reshape(y, &with_leading_axis(&Dim::known(1), self.dims))
            })
            .collect();
        self.b.concat(&parts, 0)
    }
}

/// Returns an operand with the leading axis, repeated along it if it does not have one.
pub(super) fn batched(b: &mut Builder, size: &Dim, o: Operand) -> Value {
    if o.is_batched {
        return o.v;
    }
    let to = with_leading_axis(size, &b.ty(o.v).shape);
    b.expand(o.v, &to)
}

/// Returns the operand of target `i`: a slice along the leading axis, or the operand itself if it has none.
fn row(b: &mut Builder, o: Operand, i: i64) -> Value {
    if !o.is_batched {
        return o.v;
    }
    let row = b.slice(o.v, 0, &Dim::known(i), &Dim::known(1));
    let shape = Shape(b.ty(row).shape.0[1..].to_vec());
    b.reshape(row, &shape)
}
