//! Stage → tract model, primitive by primitive.
//!
//! Elementwise functions, reductions, movements and products of two computed values are tract's own operators; products
//! with a constant are ours (`product.rs`), and what tract has no operator for is a [`Kernel`].

mod product;

use std::collections::{HashMap, HashSet};

use dlbc_backend::Stage;
use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::{self, Binary, PadMode, Part, Prim, Reduction, Unary};
use dlbc_ops::tensor::{DType, Tensor as Constant};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops;

use super::attention::{Attention, Share};
use super::indexing::{Indexing, Way};
use super::kernel::Kernel;
use super::lookup::Lookup;
use super::pointwise::{self, Pointwise};
use super::products;
use super::scan::Recurrence;
use super::weights::{Cache, datum};

/// Operands of one concatenation in the engine; more are concatenated in groups.
const MANY_PARTS: usize = 64;

/// Builds the model of a stage; also returns the inputs that are no inputs of the model, since products read them in place,
/// where that is allowed.
pub fn model(
    graph: &Graph<Prim>,
    stage: &Stage,
    cache: &mut Cache,
    in_place: bool,
) -> TractResult<(TypedModel, Vec<Value>)> {
    let chains = products::find(graph, stage, in_place);
    let expressions = pointwise::find(graph, stage, &chains);
    let given: Vec<Value> = stage.inputs.iter().filter(|v| chains.given.contains(&v.node)).copied().collect();
    let (model, values) = (TypedModel::default(), HashMap::new());
    let mut w = Wiring { graph, cache, model, values, shares: vec![], given };
    for v in stage.inputs.iter().filter(|v| !chains.given.contains(&v.node)) {
        let fact = datum(graph.ty(*v).dtype).fact(w.dims(*v));
        let outlet = w.model.add_source(w.name(*v), fact)?;
        w.values.insert(*v, outlet);
    }
    let tensors = constants(graph, stage, &chains);
    for id in &stage.nodes {
        let within = chains.inner.contains(id) || expressions.within(*id);
        let elsewhere = matches!(graph.op(*id), Prim::Const(_)) && !tensors.contains(id);
        if matches!(graph.op(*id), Prim::Input) || within || elsewhere {
            continue;
        }
        let made = match chains.by_end.get(id) {
            Some(chain) => w.product(chain),
            None if expressions.makes(*id) => w.expression(expressions.build(graph, *id), *id),
            None => w.node(*id),
        };
        let outlet = made.map_err(|e| e.context(format!("node `{}`", graph.node(*id).name())))?;
        w.values.insert(Value { node: *id, slot: 0 }, outlet);
    }
    let outputs: Vec<OutletId> = stage.outputs.iter().map(|v| w.values[v]).collect();
    // An input that is an output as it stands, or an output named twice, needs a node of its own.
    let outputs: Vec<OutletId> = outputs
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let plain = !w.model.inputs.contains(o) && !outputs[..i].contains(o);
            if plain { Ok(*o) } else { w.wire(&format!("output.{i}"), ops::identity::Identity, &[*o]) }
        })
        .collect::<TractResult<_>>()?;
    w.model.select_output_outlets(&outputs)?;
    Ok((w.model, w.given))
}

/// The constants that must be tensors of the engine. Operators of ours read the others where the program holds them.
fn constants(graph: &Graph<Prim>, stage: &Stage, chains: &products::Chains) -> HashSet<NodeId> {
    let products: HashSet<NodeId> = chains.by_end.values().map(|chain| chain.product).collect();
    let mut tensors: HashSet<NodeId> = stage.outputs.iter().map(|v| v.node).collect();
    for id in &stage.nodes {
        for (k, v) in graph.node_inputs(*id).into_iter().enumerate() {
            let Prim::Const(t) = graph.op(v.node) else { continue };
            let in_place = match graph.op(*id) {
                Prim::Gather(prim::Gather { axis: 0 }) => k == 0 && Lookup::new(String::new(), t).is_some(),
                _ => k == 1 && products.contains(id),
            };
            if !in_place {
                tensors.insert(v.node);
            }
        }
    }
    tensors
}

struct Wiring<'a> {
    graph: &'a Graph<Prim>,
    cache: &'a mut Cache,
    model: TypedModel,
    values: HashMap<Value, OutletId>,
    /// Relevance of attentions that was made, with its operands.
    shares: Vec<(Share, Vec<Value>, TVec<OutletId>)>,
    /// Matrices that a run gives to products.
    given: Vec<Value>,
}

impl Wiring<'_> {
    fn name(&self, v: Value) -> String {
        self.graph.value_name(v).to_string()
    }

    fn dims(&self, v: Value) -> Vec<usize> {
        self.graph.ty(v).shape.as_known().unwrap_or_default()
    }

    fn wire(
        &mut self,
        name: &str,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        let name = self.unique(name);
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    /// The constant behind a value.
    fn constant(&self, v: Value) -> Option<Constant> {
        match self.graph.op(v.node) {
            Prim::Const(t) => Some(t.clone()),
            _ => None,
        }
    }

    /// A part of an operand: made at plan time for a constant, a node otherwise.
    fn part(&mut self, v: Value, part: Part) -> TractResult<OutletId> {
        if let Some(t) = self.constant(v) {
            let made = self.cache.tensor(v.node, part, &t)?;
            let name = format!("{}.{part:?}", self.name(v));
            return {
                let name = self.unique(&name);
                self.model.add_const(name, made)
            };
        }
        let x = self.values[&v];
        let name = self.name(v);
        match part {
            Part::Id => Ok(x),
            Part::Abs => self.wire(&format!("{name}.abs"), ops::math::abs(), &[x]),
            Part::Pos => self.scalar_binary(&format!("{name}.pos"), ops::math::max(), x, 0.0),
            Part::Neg => self.scalar_binary(&format!("{name}.neg"), ops::math::min(), x, 0.0),
            Part::Square => self.wire(&format!("{name}.square"), ops::math::mul(), &[x, x]),
            Part::One => {
                let none = self.scalar_binary(&format!("{name}.none"), ops::math::mul(), x, 0.0)?;
                self.scalar_binary(&format!("{name}.one"), ops::math::add(), none, 1.0)
            }
        }
    }

    fn unique(&self, name: &str) -> String {
        self.model.unique_name(name).into_owned()
    }

    fn scalar_binary(
        &mut self,
        name: &str,
        op: ops::binary::TypedBinOp,
        x: OutletId,
        value: f32,
    ) -> TractResult<OutletId> {
        let rank = self.model.outlet_fact(x)?.rank();
        let scalar = Tensor::from_shape(&vec![1; rank], &[value])?.into_arc_tensor();
        let name_const = self.unique(&format!("{name}.scalar"));
        let scalar = self.model.add_const(name_const, scalar)?;
        self.wire(name, op, &[x, scalar])
    }

    fn node(&mut self, id: NodeId) -> TractResult<OutletId> {
        let v = Value { node: id, slot: 0 };
        let name = self.name(v);
        let prim = self.graph.op(id).clone();
        let operands = self.graph.node_inputs(id);
        let float = operands.iter().all(|o| self.graph.ty(*o).dtype.is_float());
        match &prim {
            Prim::Const(t) => {
                let made = self.cache.tensor(id, Part::Id, t)?;
                let name = self.unique(&name);
                self.model.add_const(name, made)
            }
            Prim::MatMul(prim::MatMul { a, b, ta, tb }) => {
                self.matmul(&name, (operands[0], *a, *ta), (operands[1], *b, *tb))
            }
            Prim::Conv(prim::Conv { geometry, w }) => {
                let weight = self.part(operands[1], *w)?;
                let bias = operands.get(2).map(|b| self.part(*b, Part::Id)).transpose()?;
                let x = self.values[&operands[0]];
                let input = self.dims(operands[0])[2..].to_vec();
                let output = self.dims(v)[2..].to_vec();
                let after: Vec<i64> =
                    (0..input.len()).map(|i| geometry.window.reach_after(i, input[i], output[i])).collect();
                self.conv(&name, geometry, x, weight, bias, &after)
            }
            Prim::ConvTranspose(prim::ConvTranspose { geometry, w, .. }) => {
                self.conv_transpose(&name, v, &operands, geometry, *w)
            }
            Prim::Unary(f) if float => self.unary(&name, *f, v, &operands),
            Prim::Binary(f) if float => self.binary(&name, *f, v, &operands),
            Prim::Reduce(prim::Reduce { kind, axes, keep }) if float => {
                self.reduce(&name, *kind, axes, *keep, v, &operands)
            }
            Prim::Attention(prim::Attention(geometry)) => {
                let op = Attention(self.attention(*geometry, &operands[..3], operands.get(3)));
                let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
                self.wire(&name, op, &inputs)
            }
            Prim::AttentionShare(prim::AttentionShare { geometry, value, of }) => {
                let shape = self.attention(*geometry, &operands[..3], operands.get(4));
                self.share(&name, Share { shape, value: *value }, &operands, *of)
            }
            Prim::Reshape(_) => {
                let x = self.values[&operands[0]];
                let dims = |d: Vec<usize>| d.into_iter().map(|d| ToDim::to_dim(&d)).collect();
                self.reshape(&name, x, self.dims(operands[0]), dims(self.dims(v)))
            }
            Prim::Transpose(prim::Transpose { perm }) => {
                self.transpose(&name, self.values[&operands[0]], perm)
            }
            Prim::Slice(prim::Slice { axis, start, len, step: 1 }) => {
                let (start, len) = (known(start)?, known(len)?);
                let op = ops::array::Slice::new(*axis, start, start + len);
                self.wire(&name, op, &[self.values[&operands[0]]])
            }
            Prim::Concat(prim::Concat { axis }) => {
                let mut parts: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
                // The engine orders nodes in a time quadratic in a node's operands.
                for level in 0.. {
                    if parts.len() <= MANY_PARTS {
                        break;
                    }
                    let groups = parts.chunks(MANY_PARTS).enumerate();
                    parts = groups
                        .map(|(i, group)| {
                            let name = format!("{name}.parts.{level}.{i}");
                            self.wire(&name, ops::array::TypedConcat { axis: *axis }, group)
                        })
                        .collect::<TractResult<_>>()?;
                }
                if parts.len() == 1 {
                    return Ok(parts[0]);
                }
                self.wire(&name, ops::array::TypedConcat { axis: *axis }, &parts)
            }
            Prim::Pad(prim::Pad { before, after, mode: PadMode::Constant(value) }) if float => {
                let pads = before.iter().zip(after).map(|(b, a)| Ok((known(b)?, known(a)?)));
                let pads = pads.collect::<TractResult<Vec<_>>>()?;
                let mode = ops::array::PadMode::Constant(tensor0(*value).into_arc_tensor());
                self.wire(&name, ops::array::Pad { pads, mode }, &[self.values[&operands[0]]])
            }
            Prim::Expand(_) => {
                let x = self.values[&operands[0]];
                let dims = self.dims(v);
                let mut wide = x;
                for i in self.dims(operands[0]).len()..dims.len() {
                    wide = self.wire(&format!("{name}.axis.{i}"), AxisOp::Add(0), &[wide])?;
                }
                let shape = ShapeFact::from_dims(dims);
                self.wire(&name, ops::array::MultiBroadcastTo { shape }, &[wide])
            }
            Prim::Gather(prim::Gather { axis }) | Prim::ScatterAdd(prim::ScatterAdd { axis, .. })
                if float_data(self.graph, &operands) =>
            {
                let at = self.values[&operands[1]];
                let gathers = matches!(prim, Prim::Gather(_));
                // The model's name of the node, which a message is looked up by.
                let origin = self.graph.node(v.node).origin.nodes.first();
                let title = origin.map_or(&name, |(node, _)| node).clone();
                let table = self.constant(operands[0]).filter(|_| gathers && *axis == 0);
                if let Some(lookup) = table.and_then(|t| Lookup::new(title.clone(), &t)) {
                    return self.wire(&name, lookup, &[at]);
                }
                let dims = self.dims(v);
                let (way, dim) = match gathers {
                    true => (Way::Gather, self.dims(operands[0])[*axis]),
                    false => (Way::ScatterAdd, dims[*axis]),
                };
                let op = Indexing { title, way, axis: *axis, dim, dims };
                self.wire(&name, op, &[self.values[&operands[0]], at])
            }
            Prim::Cast(_) => {
                let x = self.values[&operands[0]];
                let to = datum(self.graph.ty(v).dtype);
                if self.model.outlet_fact(x)?.datum_type == to {
                    return Ok(x);
                }
                self.kernel(&name, prim, v, &operands)
            }
            Prim::Scan(scan) => {
                let taken = 1 + scan.sequences;
                let constants: Vec<Option<Constant>> = operands
                    .iter()
                    .enumerate()
                    .map(|(k, o)| if k < taken { None } else { self.constant(*o) })
                    .collect();
                let computed = operands.iter().zip(&constants).filter(|(_, c)| c.is_none());
                let inputs: Vec<OutletId> = computed.map(|(o, _)| self.values[o]).collect();
                let op = Recurrence::new(scan, &constants, self.dims(v))?;
                self.wire(&name, op, &inputs)
            }
            _ => self.kernel(&name, prim, v, &operands),
        }
    }

    /// An elementwise expression.
    fn expression(&mut self, (op, operands): (Pointwise, Vec<Value>), id: NodeId) -> TractResult<OutletId> {
        let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
        let name = self.name(Value { node: id, slot: 0 });
        self.wire(&name, op, &inputs)
    }

    /// A primitive as a kernel of ours.
    fn kernel(&mut self, name: &str, prim: Prim, v: Value, operands: &[Value]) -> TractResult<OutletId> {
        let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
        let ty = self.graph.ty(v);
        let title = format!("{name}: {}", prim.name());
        let kernel = Kernel::new(title, prim, datum(ty.dtype), self.dims(v));
        self.wire(name, kernel, &inputs)
    }

    fn unary(&mut self, name: &str, f: Unary, v: Value, operands: &[Value]) -> TractResult<OutletId> {
        let x = self.values[&operands[0]];
        let op: Box<dyn TypedOp> = match f {
            Unary::Exp => ops::math::exp().into(),
            Unary::Tanh => ops::math::tanh().into(),
            Unary::Sigmoid => ops::nn::sigmoid().into(),
            Unary::Erf => ops::math::erf().into(),
            _ => return self.kernel(name, Prim::Unary(f), v, operands),
        };
        self.wire(name, op, &[x])
    }

    fn binary(&mut self, name: &str, f: Binary, v: Value, operands: &[Value]) -> TractResult<OutletId> {
        let op = match f {
            Binary::Add => ops::math::add(),
            Binary::Sub => ops::math::sub(),
            Binary::Mul => ops::math::mul(),
            Binary::Max => ops::math::max(),
            Binary::Min => ops::math::min(),
            _ => return self.kernel(name, Prim::Binary(f), v, operands),
        };
        let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
        let name = self.unique(name);
        Ok(tract_onnx::tract_core::ops::change_axes::wire_with_rank_broadcast(
            name,
            &mut self.model,
            op,
            &inputs,
        )?[0])
    }

    fn reduce(
        &mut self,
        name: &str,
        kind: Reduction,
        axes: &[usize],
        keep: bool,
        v: Value,
        operands: &[Value],
    ) -> TractResult<OutletId> {
        use ops::nn::{Reduce, Reducer};
        let reducer = match kind {
            Reduction::Max => Reducer::Max,
            Reduction::Min => Reducer::Min,
            Reduction::Prod => Reducer::Prod,
            Reduction::Sum | Reduction::ArgMax | Reduction::ArgMin => {
                return self.kernel(
                    name,
                    Prim::Reduce(prim::Reduce { kind, axes: axes.to_vec(), keep }),
                    v,
                    operands,
                );
            }
        };
        let x = self.values[&operands[0]];
        let mut y = self.wire(name, Reduce { axes: axes.into(), reducer }, &[x])?;
        if !keep {
            for axis in axes.iter().rev() {
                y = self.wire(&format!("{name}.drop.{axis}"), AxisOp::Rm(*axis), &[y])?;
            }
        }
        Ok(y)
    }

    fn reshape(
        &mut self,
        name: &str,
        x: OutletId,
        from: Vec<usize>,
        to: TVec<TDim>,
    ) -> TractResult<OutletId> {
        let from: TVec<TDim> = from.into_iter().map(|d| ToDim::to_dim(&d)).collect();
        // Common leading and trailing axes stay out of it, so that tract can move the change around.
        let lead = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        let limit = from.len().min(to.len()) - lead;
        let tail = from.iter().rev().zip(to.iter().rev()).take(limit).take_while(|(a, b)| a == b).count();
        let (from, to): (TVec<TDim>, TVec<TDim>) =
            (from[lead..from.len() - tail].into(), to[lead..to.len() - tail].into());
        if from.is_empty() && to.is_empty() {
            return Ok(x);
        }
        self.wire(name, AxisOp::Reshape(lead, from, to), &[x])
    }

    fn transpose(&mut self, name: &str, x: OutletId, perm: &[usize]) -> TractResult<OutletId> {
        // Axis by axis: `order` is where each axis of the result stands now.
        let mut order: Vec<usize> = (0..perm.len()).collect();
        let mut y = x;
        for (to, axis) in perm.iter().enumerate() {
            let from = order.iter().position(|a| a == axis).unwrap_or(to);
            if from != to {
                let moved = order.remove(from);
                order.insert(to, moved);
                y = self.wire(&format!("{name}.move.{to}"), AxisOp::Move(from, to), &[y])?;
            }
        }
        Ok(y)
    }
}

fn float_data(graph: &Graph<Prim>, operands: &[Value]) -> bool {
    operands.first().is_some_and(|v| graph.ty(*v).dtype == DType::F32)
}

fn known(d: &dlbc_ops::tensor::Dim) -> TractResult<usize> {
    d.as_known().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| anyhow!("dimension {d} is not known"))
}
