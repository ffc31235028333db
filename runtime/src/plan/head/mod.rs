//! Restriction of a language model's head to the explained positions.
//!
//! The head is the last product with a constant matrix on the way to the explained output `[batch, position, unit]`, and
//! the nodes behind it. A run explains one position of each row, so the head and its reverse are computed for those
//! positions alone: the operand of the product is looked up at them, the seed has one position, and relevance that leaves
//! the head is 0 at all other positions. The positions are an input of the program, so runs of equal shapes share a plan.

mod axis;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::prim::{self, Binary, Builder, Knowledge, Known, Prim, Reduction};
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{DType, Shape, Tensor, TensorType};

use super::steps::constants;
use axis::{Axis, Extent, Operand, restricted};

/// Name of the program input with the explained positions: int64 `[batch]`, indices into the flattened `[batch, position]`.
pub(crate) const POSITIONS: &str = "dlbc_positions";

/// Treatment of the explained output by a restricted program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// The output is computed for all positions; its reverse for the explained ones.
    Computed,
    /// The output is computed for the explained positions: `[batch, 1, unit]`.
    Left,
}

/// A value that is computed for the explained positions.
#[derive(Clone, Copy)]
struct Restricted {
    /// The restricted value; `None` until a node reads it, for a value that is looked up in the unrestricted one.
    value: Option<Value>,
    axis: Axis,
    /// True if the unrestricted value is 0 at all other positions.
    zero_elsewhere: bool,
}

/// Returns the program with its head restricted to the input [`POSITIONS`] and the seed `[…, batch, 1, unit]`; `None` for a
/// program without such a head, or with a single position. All other outputs keep their values and types, up to the
/// rounding of products of fewer rows.
pub(crate) fn restrict(graph: &Graph<Prim>, explained: &str, whole: Whole) -> Option<Graph<Prim>> {
    let y = graph.output(&Output::Model(explained.into()))?;
    let [batch, positions, _] = known_dims(graph, y)?[..] else { return None };
    if positions < 2 || batch == 0 {
        return None;
    }
    let extent = Extent { batch, positions };
    let (mut head, mut source) = find_head(graph, y)?;
    // The reverse reads the operand as it is before its leading axes are merged for the product.
    while let (Prim::Reshape(_), [x]) = (graph.op(source.node), graph.node_inputs(source.node).as_slice()) {
        if known_dims(graph, *x).and_then(|dims| extent.leading(&dims)).is_none() {
            break;
        }
        head.insert(source.node);
        source = *x;
    }
    let seed = graph.inputs().iter().copied().find(|id| graph.node(*id).name() == SEED)?;
    let mut r = Restriction::new(graph, extent);
    r.add_source(source)?;
    r.add_seed(Value { node: seed, slot: 0 })?;
    let mut totals = vec![];
    for id in graph.topological() {
        if let Some(total) = r.node(id, whole == Whole::Computed && head.contains(&id))? {
            totals.push((Value { node: id, slot: 0 }, total));
        }
    }
    if r.values.get(&y)?.axis != (Axis { at: 1, merged: false }) {
        return None;
    }
    r.finish(graph, (y, whole), &totals)
}

/// Returns the dimensions of a value if all are known.
fn known_dims(graph: &Graph<Prim>, v: Value) -> Option<Vec<usize>> {
    graph.ty(v).shape.as_known()
}

/// Finds the head: the nodes between its operand and `y`, and that operand. Returns `None` if they read anything else but
/// constants, or mix positions.
fn find_head(graph: &Graph<Prim>, y: Value) -> Option<(HashSet<NodeId>, Value)> {
    let constant = constants(graph);
    let (mut head, mut source) = (HashSet::new(), None);
    let mut stack = vec![y];
    while let Some(v) = stack.pop() {
        if constant.contains(&v.node) {
            continue;
        }
        let inputs = graph.node_inputs(v.node);
        match graph.op(v.node) {
            Prim::MatMul(_) if constant.contains(&inputs[1].node) => {
                head.insert(v.node);
                if source.is_some_and(|s| s != inputs[0]) {
                    return None;
                }
                source = Some(inputs[0]);
            }
            Prim::Unary(_) | Prim::Binary(_) | Prim::Cast(_) | Prim::Select | Prim::Softmax(_) => {
                if head.insert(v.node) {
                    stack.extend(inputs);
                }
            }
            Prim::Reduce(_) | Prim::Reshape(_) | Prim::Transpose(_) | Prim::Slice(_) | Prim::Expand(_) => {
                if head.insert(v.node) {
                    stack.extend(inputs);
                }
            }
            _ => return None,
        }
    }
    source.filter(|s| !head.contains(&s.node)).map(|s| (head, s))
}

/// A program whose head is being restricted.
struct Restriction {
    b: Builder,
    extent: Extent,
    /// The input [`POSITIONS`].
    index: Value,
    /// True at the explained positions: `[batch, position]`, or `[position]` for a batch of 1.
    mask: Option<Value>,
    values: HashMap<Value, Restricted>,
}

impl Restriction {
    fn new(graph: &Graph<Prim>, extent: Extent) -> Restriction {
        let mut b = Builder::from_graph(graph.clone());
        let index = b.input(POSITIONS, TensorType::known(DType::I64, &[extent.batch]));
        Restriction { b, extent, index, mask: None, values: HashMap::new() }
    }

    /// Adds the operand of the head, which is looked up at the explained positions.
    fn add_source(&mut self, source: Value) -> Option<()> {
        let axis = self.extent.leading(&known_dims(self.b.graph(), source)?)?;
        self.values.insert(source, Restricted { value: None, axis, zero_elsewhere: false });
        Some(())
    }

    /// Reduces the seed to one position.
    fn add_seed(&mut self, seed: Value) -> Option<()> {
        let dims = known_dims(self.b.graph(), seed)?;
        let axis = Axis { at: dims.len().checked_sub(2)?, merged: false };
        if !self.extent.has(&dims, axis) {
            return None;
        }
        let shape = known_shape(&self.extent.restricted_dims(&dims, axis));
        self.b.graph_mut().node_mut(seed.node).types[0].shape = shape;
        self.values.insert(seed, Restricted { value: Some(seed), axis, zero_elsewhere: true });
        Some(())
    }

    /// Adds the restricted copy of a node, if its operands have one. With `looked_up`, readers look it up in the node itself.
    /// Returns the value that replaces a sum over the positions. Fails if the copy cannot be typed.
    fn node(&mut self, id: NodeId, looked_up: bool) -> Option<Option<Value>> {
        let graph = self.b.graph();
        let inputs = graph.node_inputs(id);
        if !inputs.iter().any(|v| self.values.contains_key(v)) {
            return Some(None);
        }
        let node = graph.node(id);
        let (op, origin) = (node.op.clone(), node.origin.clone());
        let name = node.name().rsplit_once('/').map_or(node.name(), |(stem, _)| stem).to_string();
        let all: Option<Vec<Vec<usize>>> = inputs.iter().map(|v| self.unrestricted_dims(*v)).collect();
        let (Some(all), Some(dims)) = (all, known_dims(graph, Value { node: id, slot: 0 })) else {
            return Some(None);
        };
        let axes = inputs.iter().map(|v| self.values.get(v).map(|r| r.axis));
        let operands: Vec<Operand> =
            all.into_iter().zip(axes).map(|(dims, axis)| Operand { dims, axis }).collect();
        self.b.set_origin(&origin, &name);
        let copy = restricted(&op, self.extent, &operands, &dims);
        let Some((prim, axis)) = copy else { return self.total(&op, &inputs) };
        let zeros: Vec<Option<Known>> = inputs
            .iter()
            .map(|v| self.values.get(v).filter(|r| r.zero_elsewhere).map(|_| Known::Zero))
            .collect();
        let zero_elsewhere = prim.inner().is_some_and(|p| p.is_zero(&Knowledge(&zeros)));
        let value = match looked_up {
            true => None,
            false => {
                let operands: Vec<Value> = inputs.iter().map(|v| self.at_positions(*v)).collect();
                let value = self.b.add(prim, &operands);
                self.b.ok().ok()?;
                let expected = self.extent.restricted_dims(&dims, axis);
                (known_dims(self.b.graph(), value)? == expected).then_some(Some(value))?
            }
        };
        self.values.insert(Value { node: id, slot: 0 }, Restricted { value, axis, zero_elsewhere });
        Some(None)
    }

    /// Adds the sum of a value that is 0 at all other positions, if the node is such a sum.
    fn total(&mut self, op: &Prim, inputs: &[Value]) -> Option<Option<Value>> {
        let (Prim::Reduce(prim::Reduce { kind: Reduction::Sum, axes, .. }), [x]) = (op, inputs) else {
            return Some(None);
        };
        let sums = |r: &Restricted| r.zero_elsewhere && axes.contains(&r.axis.at);
        if !self.values.get(x).is_some_and(sums) {
            return Some(None);
        }
        let x = self.at_positions(*x);
        let total = self.b.add(op.clone(), &[x]);
        self.b.ok().ok().map(|()| Some(total))
    }

    /// Returns the dimensions of a value before the restriction, if all are known.
    fn unrestricted_dims(&self, v: Value) -> Option<Vec<usize>> {
        let dims = known_dims(self.b.graph(), v)?;
        // The seed is the only value of the program whose type has changed.
        Some(match self.values.get(&v) {
            Some(r) if r.value == Some(v) => self.extent.unrestricted_dims(&dims, r.axis),
            _ => dims,
        })
    }

    /// Returns a value at the explained positions, or the value itself if it has no restricted copy.
    fn at_positions(&mut self, v: Value) -> Value {
        let Some(r) = self.values.get(&v).copied() else { return v };
        if let Some(value) = r.value {
            return value;
        }
        let value = self.look_up(v, r.axis);
        self.values.insert(v, Restricted { value: Some(value), ..r });
        value
    }

    /// Looks up a value at the explained positions.
    fn look_up(&mut self, v: Value, axis: Axis) -> Value {
        let dims = known_dims(self.b.graph(), v).unwrap_or_default();
        let flat = self.extent.flat_dims(&dims, axis);
        let at = self.extent.flat_axis(axis);
        let rows = self.b.reshape(v, &known_shape(&flat));
        let rows = self.b.add(prim::Gather { axis: at }, &[rows, self.index]);
        self.b.reshape(rows, &known_shape(&self.extent.restricted_dims(&dims, axis)))
    }

    /// Returns a restricted value at all positions, with 0 at those that are not explained.
    fn at_all_positions(&mut self, v: Value) -> Value {
        let Some(r) = self.values.get(&v).copied() else { return v };
        let dims = self.unrestricted_dims(v).unwrap_or_default();
        let value = self.at_positions(v);
        let Extent { batch, positions } = self.extent;
        let mask = match self.mask {
            Some(mask) => mask,
            None => {
                let all: Vec<i64> = (0..(batch * positions) as i64).collect();
                let all = self.b.constant("positions", Tensor::from_i64(&[batch, positions], &all));
                let index = self.b.reshape(self.index, &known_shape(&[batch, 1]));
                let mask = self.b.binary(Binary::Equal, index, all);
                self.mask = Some(mask);
                mask
            }
        };
        // `[batch, position, 1, …]` against `[…, batch, 1, …]`.
        let trailing = dims.len() - 1 - r.axis.at;
        let lead: &[usize] = if batch == 1 { &[positions] } else { &[batch, positions] };
        let mask = self.b.reshape(mask, &known_shape(&[lead, &vec![1; trailing]].concat()));
        let value = self.b.reshape(value, &known_shape(&self.extent.split_dims(&dims, r.axis)));
        let zero = self.b.scalar_like(0.0, value);
        let all = self.b.select(mask, value, zero);
        self.b.reshape(all, &known_shape(&dims))
    }

    /// Connects the restricted values to their readers and outputs, and removes what is not read any more.
    fn finish(
        mut self,
        graph: &Graph<Prim>,
        (y, whole): (Value, Whole),
        totals: &[(Value, Value)],
    ) -> Option<Graph<Prim>> {
        self.b.set_origin(&Default::default(), "positions");
        let is_zero = |r: &Restriction, v: &Value| r.values.get(v).is_some_and(|r| r.zero_elsewhere);
        for id in graph.topological() {
            let inputs = graph.node_inputs(id);
            if is_zero(&self, &Value { node: id, slot: 0 }) || !inputs.iter().any(|v| is_zero(&self, v)) {
                continue;
            }
            let operands: Vec<Value> = inputs
                .iter()
                .map(|v| if is_zero(&self, v) { self.at_all_positions(*v) } else { *v })
                .collect();
            self.b.graph_mut().set_inputs(id, &operands);
        }
        let shape = known_dims(graph, y);
        let mut outputs = vec![];
        for (output, v) in graph.outputs() {
            let value = match output {
                Output::Model(_) if *v == y && whole == Whole::Left => self.at_positions(*v),
                Output::SeedValue | Output::SeedSign if self.values.contains_key(v) => self.at_positions(*v),
                Output::SeedValue | Output::SeedSign if known_dims(graph, *v) == shape => {
                    self.look_up(*v, Axis { at: 1, merged: false })
                }
                _ if is_zero(&self, v) => self.at_all_positions(*v),
                _ => *v,
            };
            outputs.push((output.clone(), value));
        }
        self.b.ok().ok()?;
        let mut restricted = self.b.finish();
        restricted.set_outputs(outputs);
        for (sum, total) in totals {
            restricted.replace(*sum, *total);
        }
        restricted.remove_unused();
        restricted.check().ok().map(|_| restricted)
    }
}

/// Returns the shape of known dimensions.
fn known_shape(dims: &[usize]) -> Shape {
    dims.iter().map(|d| dlbc_ops::tensor::Dim::known(*d as i64)).collect()
}
