//! Stage → tract model, primitive by primitive.
//!
//! Elementwise functions, reductions, movements and products of two computed values are tract's own operators; products
//! with a constant are ours ([`Convolution`], [`Linear`]), and what tract has no operator for is a [`Kernel`].

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, PrintOp, Value};
use dlbc_ops::prim::{
    AttentionGeometry, AttentionPart, Binary, ConvGeometry, PadMode, Part, Prim, Reduction, Unary, Window,
};
use dlbc_ops::tensor::{DType, Tensor as Constant};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops;

use super::attention::{self, Attention, Share};
use super::columns::Taps;
use super::conv::{Convolution, Way};
use super::epilogue::Step;
use super::kernel::{Fold, Kernel};
use super::linear::{self, Linear};
use super::pointwise::{self, Pointwise};
use super::products::{self, Chain};
use super::weights::{Cache, datum};
use crate::stage::Stage;

/// Operands of one concatenation in the engine; more are concatenated in groups.
const MANY_PARTS: usize = 64;

/// Builds the model of a stage.
pub fn model(graph: &Graph<Prim>, stage: &Stage, cache: &mut Cache) -> TractResult<TypedModel> {
    let chains = products::find(graph, stage);
    let expressions = pointwise::find(graph, stage, &chains);
    let mut w = Wiring { graph, cache, model: TypedModel::default(), values: HashMap::new(), shares: vec![] };
    for v in &stage.inputs {
        let fact = datum(graph.ty(*v).dtype).fact(w.dims(*v));
        let outlet = w.model.add_source(w.name(*v), fact)?;
        w.values.insert(*v, outlet);
    }
    for id in &stage.nodes {
        let within = chains.inner.contains(id) || expressions.within(*id);
        if matches!(graph.op(*id), Prim::Input) || within {
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
    Ok(w.model)
}

struct Wiring<'a> {
    graph: &'a Graph<Prim>,
    cache: &'a mut Cache,
    model: TypedModel,
    values: HashMap<Value, OutletId>,
    /// Relevance of attentions that was made, with its operands.
    shares: Vec<(Share, Vec<Value>, TVec<OutletId>)>,
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
            Prim::MatMul { a, b, ta, tb } => {
                self.matmul(&name, (operands[0], *a, *ta), (operands[1], *b, *tb))
            }
            Prim::Conv { geometry, w } => {
                let weight = self.part(operands[1], *w)?;
                let bias = operands.get(2).map(|b| self.part(*b, Part::Id)).transpose()?;
                let x = self.values[&operands[0]];
                let input = self.dims(operands[0])[2..].to_vec();
                let output = self.dims(v)[2..].to_vec();
                let after: Vec<i64> =
                    (0..input.len()).map(|i| geometry.window.reach_after(i, input[i], output[i])).collect();
                self.conv(&name, geometry, x, weight, bias, &after)
            }
            Prim::ConvTranspose { geometry, w, .. } => self.conv_transpose(&name, v, &operands, geometry, *w),
            Prim::Unary(f) if float => self.unary(&name, *f, v, &operands),
            Prim::Binary(f) if float => self.binary(&name, *f, v, &operands),
            Prim::Reduce { kind, axes, keep } if float => {
                self.reduce(&name, *kind, axes, *keep, v, &operands)
            }
            Prim::Attention(geometry) => {
                let op = Attention(self.attention(*geometry, &operands[..3], operands.get(3)));
                let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
                self.wire(&name, op, &inputs)
            }
            Prim::AttentionShare { geometry, value, of } => {
                let shape = self.attention(*geometry, &operands[..3], operands.get(4));
                self.share(&name, Share { shape, value: *value }, &operands, *of)
            }
            Prim::Reshape { .. } => {
                let x = self.values[&operands[0]];
                let dims = |d: Vec<usize>| d.into_iter().map(|d| ToDim::to_dim(&d)).collect();
                self.reshape(&name, x, self.dims(operands[0]), dims(self.dims(v)))
            }
            Prim::Transpose { perm } => self.transpose(&name, self.values[&operands[0]], perm),
            Prim::Slice { axis, start, len, step: 1 } => {
                let (start, len) = (known(start)?, known(len)?);
                let op = ops::array::Slice::new(*axis, start, start + len);
                self.wire(&name, op, &[self.values[&operands[0]]])
            }
            Prim::Concat { axis } => {
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
            Prim::Pad { before, after, mode: PadMode::Constant(value) } if float => {
                let pads = before.iter().zip(after).map(|(b, a)| Ok((known(b)?, known(a)?)));
                let pads = pads.collect::<TractResult<Vec<_>>>()?;
                let mode = ops::array::PadMode::Constant(tensor0(*value).into_arc_tensor());
                self.wire(&name, ops::array::Pad { pads, mode }, &[self.values[&operands[0]]])
            }
            Prim::Expand { .. } => {
                let x = self.values[&operands[0]];
                let dims = self.dims(v);
                let mut wide = x;
                for i in self.dims(operands[0]).len()..dims.len() {
                    wide = self.wire(&format!("{name}.axis.{i}"), AxisOp::Add(0), &[wide])?;
                }
                let shape = ShapeFact::from_dims(dims);
                self.wire(&name, ops::array::MultiBroadcastTo { shape }, &[wide])
            }
            Prim::Gather { axis } if float_data(self.graph, &operands) => {
                let (x, at) = (self.values[&operands[0]], self.values[&operands[1]]);
                // tract does not check the range of indices.
                let dim = self.dims(operands[0])[*axis];
                // The model's name of the node, which a message is looked up by.
                let origin = self.graph.node(v.node).origin.nodes.first();
                let title = origin.map_or(&name, |(node, _)| node).clone();
                let check = Kernel::checked_indices(title, *axis, dim);
                let at = self.wire(&format!("{name}.checked"), check, &[at])?;
                self.wire(&name, ops::array::Gather { axis: *axis, output_type: None }, &[x, at])
            }
            Prim::Cast { .. } => {
                let x = self.values[&operands[0]];
                let to = datum(self.graph.ty(v).dtype);
                if self.model.outlet_fact(x)?.datum_type == to {
                    return Ok(x);
                }
                self.kernel(&name, prim, v, &operands)
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

    /// A product with a constant and what follows it.
    fn product(&mut self, chain: &Chain) -> TractResult<OutletId> {
        let id = chain.product;
        let v = Value { node: id, slot: 0 };
        let operands = self.graph.node_inputs(id);
        let constant = self.constant(operands[1]).context("the weight is not a constant")?;
        let mut inputs = vec![self.values[&operands[0]]];
        let mut steps = vec![];
        for (then, reach, operand) in &chain.steps {
            let input = inputs.len();
            if let Some(operand) = operand {
                inputs.push(self.part(*operand, Part::Id)?);
            }
            steps.push(Step { then: *then, reach: *reach, input });
        }
        let (x, dims) = (self.dims(operands[0]), self.dims(v));
        let op: Box<dyn TypedOp> = match self.graph.op(id) {
            Prim::Conv { geometry, w } | Prim::ConvTranspose { geometry, w, .. } => {
                let way = match self.graph.op(id) {
                    Prim::Conv { .. } => Way::Forward,
                    _ => Way::Adjoint,
                };
                let outputs = constant.dims()[0];
                let (from, to) = if way == Way::Forward { (&x, &dims) } else { (&dims, &x) };
                let taps = Taps::new(geometry.window.clone(), &from[2..], &to[2..]);
                let q = constant.elems() / outputs.max(1);
                let weight = self.cache.weight(operands[1].node, *w, &constant, q);
                let (channels, groups) = (from[1], geometry.groups);
                Box::new(Convolution { way, taps, groups, dims, outputs, channels, weight, steps })
            }
            Prim::MatMul { b, tb, .. } => {
                let (k, n) = (x[x.len() - 1], dims[dims.len() - 1]);
                let rows = x[..x.len() - 1].iter().product();
                // A matrix that is read once takes its part on the way; one that is read often has it made.
                let (made, part) = if rows <= linear::FEW { (Part::Id, *b) } else { (*b, Part::Id) };
                let weight = self.cache.weight(operands[1].node, made, &constant, k);
                Box::new(Linear { rows, k, n, dims, weight, part, transposed: *tb, steps })
            }
            other => bail!("{} is not a product", other.name()),
        };
        let name = self.name(v);
        self.wire(&name, op, &inputs)
    }

    /// The sizes of an attention of `[q, k, v]`.
    fn attention(
        &self,
        geometry: AttentionGeometry,
        data: &[Value],
        mask: Option<&Value>,
    ) -> attention::Shape {
        let (q, k, v) = (self.dims(data[0]), self.dims(data[1]), self.dims(data[2]));
        let lead = q.len() - 2;
        attention::Shape {
            m: q[lead],
            n: k[lead],
            d: q[lead + 1],
            e: v[lead + 1],
            lead: q[..lead].to_vec(),
            geometry,
            mask: mask.map(|mask| self.dims(*mask)),
        }
    }

    /// One part of an attention's relevance. The parts of the same relevance are made together, by the first that is asked for.
    fn share(
        &mut self,
        name: &str,
        op: Share,
        operands: &[Value],
        of: AttentionPart,
    ) -> TractResult<OutletId> {
        let same = |(made, on, _): &&(Share, Vec<Value>, TVec<OutletId>)| *made == op && on == operands;
        let parts = match self.shares.iter().find(same) {
            Some((_, _, parts)) => parts.clone(),
            None => {
                let inputs: Vec<OutletId> = operands.iter().map(|o| self.values[o]).collect();
                let name = self.unique(name);
                let parts = self.model.wire_node(name, op.clone(), &inputs)?;
                self.shares.push((op, operands.to_vec(), parts.clone()));
                parts
            }
        };
        Ok(parts[match of {
            AttentionPart::Query => 0,
            AttentionPart::Key => 1,
            AttentionPart::Value => 2,
            AttentionPart::Dropped => 3,
        }])
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
                return self.kernel(name, Prim::Reduce { kind, axes: axes.to_vec(), keep }, v, operands);
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

    fn matmul(
        &mut self,
        name: &str,
        a: (Value, Part, bool),
        b: (Value, Part, bool),
    ) -> TractResult<OutletId> {
        let inputs = [self.part(a.0, a.1)?, self.part(b.0, b.1)?];
        let unique = self.unique(name);
        let inputs =
            tract_onnx::tract_core::ops::change_axes::wire_rank_broadcast(unique, &mut self.model, &inputs)?;
        let rank = self.model.outlet_fact(inputs[0])?.rank();
        // Batch axes are a, b, …; then m, k, n.
        let batch: String = ('a'..='j').take(rank - 2).collect();
        let axes = format!(
            "{batch}{},{batch}{}->{batch}mn",
            if a.2 { "km" } else { "mk" },
            if b.2 { "nk" } else { "kn" }
        );
        let op = ops::einsum::EinSum { axes: axes.parse()?, operating_dt: DatumType::F32, q_params: None };
        self.wire(name, op, &inputs)
    }

    fn spec(&self, window: &Window, after: &[i64], channels: (usize, usize)) -> ops::cnn::PoolSpec {
        let after = after.iter().map(|a| usize::try_from(*a).unwrap_or(0)).collect();
        ops::cnn::PoolSpec {
            data_format: ops::nn::DataFormat::NCHW,
            kernel_shape: window.kernel.iter().copied().collect(),
            padding: ops::cnn::PaddingSpec::Explicit(window.before.iter().copied().collect(), after),
            dilations: Some(window.dilations.iter().copied().collect()),
            strides: Some(window.strides.iter().copied().collect()),
            input_channels: channels.0,
            output_channels: channels.1,
        }
    }

    fn conv(
        &mut self,
        name: &str,
        geometry: &ConvGeometry,
        x: OutletId,
        weight: OutletId,
        bias: Option<OutletId>,
        after: &[i64],
    ) -> TractResult<OutletId> {
        let channels = self.model.outlet_fact(x)?.shape.as_concrete().map_or(0, |d| d[1]);
        let outputs = self.model.outlet_fact(weight)?.shape.as_concrete().map_or(0, |d| d[0]);
        let pool_spec = self.spec(&geometry.window, after, (channels, outputs));
        let bias = match bias {
            Some(bias) => bias,
            None => {
                let name = self.unique(&format!("{name}.bias"));
                self.model.add_const(name, tensor0(0f32).into_arc_tensor())?
            }
        };
        let op = ops::cnn::Conv {
            pool_spec,
            kernel_fmt: ops::cnn::KernelFormat::OIHW,
            group: geometry.groups,
            q_params: None,
        };
        self.wire(name, op, &[x, weight, bias])
    }

    /// The adjoint of a convolution whose weight is not a constant: a matrix product into windows that a fold adds up.
    fn conv_transpose(
        &mut self,
        name: &str,
        v: Value,
        operands: &[Value],
        geometry: &ConvGeometry,
        part: Part,
    ) -> TractResult<OutletId> {
        let s = self.values[&operands[0]];
        let (from, to) = (self.dims(operands[0]), self.dims(v));
        let w = &geometry.window;
        // s [n, o, …] → [n, g, o/g, positions]; w [o, c/g, …] → [g, o/g, c/g·taps]; product [n, g, c/g·taps, positions].
        let groups = geometry.groups;
        let weight_dims = self.dims(operands[1]);
        let (o, q) = (weight_dims[0] / groups, weight_dims[1..].iter().product::<usize>());
        let positions: usize = from[2..].iter().product();
        let weight = self.part(operands[1], part)?;
        let dims = |d: &[usize]| d.iter().map(ToDim::to_dim).collect::<TVec<_>>();
        let weight = self.reshape(&format!("{name}.matrix"), weight, weight_dims, dims(&[groups, o, q]))?;
        let s = self.reshape(
            &format!("{name}.columns"),
            s,
            from.clone(),
            dims(&[from[0], groups, o, positions]),
        )?;
        let op = ops::einsum::EinSum {
            axes: "goq,ngop->ngqp".parse()?,
            operating_dt: DatumType::F32,
            q_params: None,
        };
        let columns = self.wire(&format!("{name}.product"), op, &[weight, s])?;
        let fold = Fold { taps: Taps::new(w.clone(), &to[2..], &from[2..]), to };
        self.wire(name, fold, &[columns])
    }
}

fn float_data(graph: &Graph<Prim>, operands: &[Value]) -> bool {
    operands.first().is_some_and(|v| graph.ty(*v).dtype == DType::F32)
}

fn known(d: &dlbc_ops::tensor::Dim) -> TractResult<usize> {
    d.as_known().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| anyhow!("dimension {d} is not known"))
}
