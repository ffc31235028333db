//! A program for several seeds at once.
//!
//! What depends on a batched input gets a leading axis of `size` elements; everything else stays as it is and is computed
//! once. Each primitive has its rule here, and the rules are chosen so that the products stay products:
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

use crate::prim;
use std::collections::{HashMap, HashSet};

use super::{Builder, Prim, Scan};
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
fn rewrite(
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
        let mut rules = Rules { b: &mut builder, size };
        let made = rules.apply(&prim, &operands, &dims)?;
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
struct Operand {
    v: Value,
    wide: bool,
}

struct Rules<'a> {
    b: &'a mut Builder,
    size: &'a Dim,
}

impl Rules<'_> {
    /// The batched result of `prim`, whose result alone has shape `dims`. At least one operand is batched.
    fn apply(&mut self, prim: &Prim, x: &[Operand], dims: &Shape) -> Result<Value, OpError> {
        Ok(match prim {
            Prim::Input | Prim::Const(_) | Prim::Dims(_) | Prim::Iota(_) => {
                return Err(OpError::Invalid("what reads nothing depends on nothing".into()));
            }
            Prim::Unary(_) | Prim::Cast(_) => self.b.add(prim.clone(), &[x[0].v]),
            Prim::Binary(_) | Prim::Select | Prim::MatMul(_) => {
                let rank = x.iter().map(|o| self.rank(*o)).max().unwrap_or(0);
                let operands: Vec<Value> = x.iter().map(|o| self.aligned(*o, rank)).collect();
                self.b.add(prim.clone(), &operands)
            }
            Prim::Conv(_) | Prim::ConvTranspose(_) if x[1..].iter().any(|o| o.wide) => {
                self.each(prim, x, dims)
            }
            Prim::Conv(_) | Prim::ConvTranspose(_) => {
                let rest = x[1..].iter().map(|o| o.v);
                let operands: Vec<Value> = [self.folded(x[0])].into_iter().chain(rest).collect();
                let y = self.b.add(prim.clone(), &operands);
                self.b.reshape(y, &lead(self.size, dims))
            }
            Prim::WindowSum(_)
            | Prim::WindowSumTranspose(_)
            | Prim::WindowMax(_)
            | Prim::WindowMaxShare(_) => {
                let operands: Vec<Value> = x.iter().map(|o| self.folded(*o)).collect();
                let y = self.b.add(prim.clone(), &operands);
                self.b.reshape(y, &lead(self.size, dims))
            }
            Prim::Reduce(prim::Reduce { kind, axes, keep }) => {
                let axes = axes.iter().map(|a| a + 1).collect();
                self.b.add(prim::Reduce { kind: *kind, axes, keep: *keep }, &[x[0].v])
            }
            Prim::Softmax(prim::Softmax { axis }) => self.b.add(prim::Softmax { axis: axis + 1 }, &[x[0].v]),
            Prim::Attention(_) | Prim::AttentionShare(_) => {
                let data = if matches!(prim, Prim::Attention(_)) { 3 } else { 4 };
                let rank = self.rank(x[0]);
                let mut operands: Vec<Value> = x[..data].iter().map(|o| self.widened(*o)).collect();
                operands.extend(x[data..].iter().map(|mask| self.aligned(*mask, rank)));
                self.b.add(prim.clone(), &operands)
            }
            Prim::Reshape(prim::Reshape { to }) => {
                self.b.add(prim::Reshape { to: lead(self.size, to) }, &[x[0].v])
            }
            Prim::Transpose(prim::Transpose { perm }) => {
                let perm = [0].into_iter().chain(perm.iter().map(|p| p + 1)).collect();
                self.b.add(prim::Transpose { perm }, &[x[0].v])
            }
            Prim::Slice(prim::Slice { axis, start, len, step }) => {
                let (start, len) = (start.clone(), len.clone());
                self.b.add(prim::Slice { axis: axis + 1, start, len, step: *step }, &[x[0].v])
            }
            Prim::SliceTranspose(prim::SliceTranspose { axis, start, to, step }) => {
                let (start, to) = (start.clone(), to.clone());
                self.b.add(prim::SliceTranspose { axis: axis + 1, start, to, step: *step }, &[x[0].v])
            }
            Prim::Concat(prim::Concat { axis }) => {
                let operands: Vec<Value> = x.iter().map(|o| self.widened(*o)).collect();
                self.b.add(prim::Concat { axis: axis + 1 }, &operands)
            }
            Prim::Pad(prim::Pad { before, after, mode }) => {
                let with = |pads: &[Dim]| [&[Dim::known(0)], pads].concat();
                self.b.add(prim::Pad { before: with(before), after: with(after), mode: *mode }, &[x[0].v])
            }
            Prim::Expand(prim::Expand { to }) => {
                let v = self.aligned(x[0], to.rank());
                self.b.add(prim::Expand { to: lead(self.size, to) }, &[v])
            }
            Prim::Gather(prim::Gather { axis }) => match (x[0].wide, x[1].wide) {
                (true, true) => self.each(prim, x, dims),
                (true, false) => self.b.add(prim::Gather { axis: axis + 1 }, &[x[0].v, x[1].v]),
                // The indices' axes, the leading one first, stand where `axis` was.
                (false, _) => {
                    let y = self.b.add(prim.clone(), &[x[0].v, x[1].v]);
                    self.moved(y, *axis, 0)
                }
            },
            Prim::ScatterAdd(_) if x[1].wide => self.each(prim, x, dims),
            Prim::ScatterAdd(prim::ScatterAdd { axis, to }) => {
                self.b.add(prim::ScatterAdd { axis: axis + 1, to: to.clone() }, &[x[0].v, x[1].v])
            }
            Prim::Overwrite if x[1].wide => self.each(prim, x, dims),
            // Rows are replaced along the first axis: the leading one becomes the second.
            Prim::Overwrite => {
                let [data, updates] = [x[0], x[2]].map(|o| {
                    let v = self.widened(o);
                    self.moved(v, 0, 1)
                });
                let y = self.b.add(Prim::Overwrite, &[data, x[1].v, updates]);
                self.moved(y, 1, 0)
            }
            Prim::TopK(prim::TopK { axis, k, largest }) => {
                self.b.add(prim::TopK { axis: axis + 1, k: k.clone(), largest: *largest }, &[x[0].v])
            }
            Prim::NonZero | Prim::NonMaxSuppression(_) | Prim::Merge(_) | Prim::MergeTranspose(_) => {
                self.each(prim, x, dims)
            }
            Prim::Scan(scan) => self.scan(scan, x)?,
        })
    }

    /// The rank of an operand without the leading axis.
    fn rank(&self, o: Operand) -> usize {
        self.b.ty(o.v).rank() - usize::from(o.wide)
    }

    /// A batched operand with axes of 1 after the leading one, so that it broadcasts as one of `rank` axes did; others as
    /// they are.
    fn aligned(&mut self, o: Operand, rank: usize) -> Value {
        let missing = rank - self.rank(o).min(rank);
        if !o.wide || missing == 0 {
            return o.v;
        }
        let own = self.b.ty(o.v).shape;
        let ones = vec![Dim::known(1); missing];
        let to = Shape([&own.0[..1], &ones, &own.0[1..]].concat());
        self.b.reshape(o.v, &to)
    }

    /// An operand with the leading axis: repeated when it has none.
    fn widened(&mut self, o: Operand) -> Value {
        if o.wide {
            return o.v;
        }
        let to = lead(self.size, &self.b.ty(o.v).shape);
        self.b.expand(o.v, &to)
    }

    /// An operand with the leading axis folded into its first.
    fn folded(&mut self, o: Operand) -> Value {
        let v = self.widened(o);
        let own = self.b.ty(v).shape.0;
        let to = Shape([&[&own[0] * &own[1]], &own[2..]].concat());
        self.b.reshape(v, &to)
    }

    /// Moves an axis.
    fn moved(&mut self, v: Value, from: usize, to: usize) -> Value {
        let mut perm: Vec<usize> = (0..self.b.ty(v).rank()).collect();
        let axis = perm.remove(from);
        perm.insert(to, axis);
        self.b.transpose(v, &perm)
    }

    /// A node for each element of the leading axis.
    fn each(&mut self, prim: &Prim, x: &[Operand], dims: &Shape) -> Value {
        let size = self.size.as_known().unwrap_or(0);
        let parts: Vec<Value> = (0..size)
            .map(|i| {
                let operands: Vec<Value> = x
                    .iter()
                    .map(|o| {
                        if !o.wide {
                            return o.v;
                        }
                        let (start, len) = (Dim::known(i), Dim::known(1));
                        let row = self.b.add(prim::Slice { axis: 0, start, len, step: 1 }, &[o.v]);
                        let own = Shape(self.b.ty(row).shape.0[1..].to_vec());
                        self.b.reshape(row, &own)
                    })
                    .collect();
                let y = self.b.add(prim.clone(), &operands);
                self.b.reshape(y, &lead(&Dim::known(1), dims))
            })
            .collect();
        self.b.add(prim::Concat { axis: 0 }, &parts)
    }

    /// A recurrence whose state has the leading axis, behind that of time in its sequences and result.
    fn scan(&mut self, scan: &Scan, x: &[Operand]) -> Result<Value, OpError> {
        let graph = scan.body.graph();
        let wide = graph.inputs().iter().zip(x).enumerate().filter(|(k, (_, o))| *k == 0 || o.wide);
        let wide: Vec<NodeId> = wide.map(|(_, (id, _))| *id).collect();
        let (mut step, values) = rewrite(graph.clone(), &wide, self.size)?;
        let next = scan.body.result().ok_or_else(|| OpError::Invalid("a step without a result".into()))?;
        let next =
            Operand { v: values.get(&next).copied().unwrap_or(next), wide: values.contains_key(&next) };
        let next = Rules { b: &mut step, size: self.size }.widened(next);
        step.ok()?;
        step.graph_mut().set_outputs(vec![("next".into(), next)]);
        step.graph_mut().remove_unused();
        let (batched, constants) = Scan::of(step.finish(), scan.sequences, scan.reverse);
        let mut operands = vec![self.widened(x[0])];
        for (k, o) in x.iter().enumerate().skip(1) {
            let sequence = k <= scan.sequences && o.wide;
            operands.push(if sequence { self.moved(o.v, 0, 1) } else { o.v });
        }
        for (name, t) in constants {
            operands.push(self.b.constant(&name, t));
        }
        let y = self.b.add(Prim::Scan(batched), &operands);
        Ok(self.moved(y, 1, 0))
    }
}
