//! Products, convolutions and attentions.

use dlbc_ops::graph::{PrintOp, Value};
use dlbc_ops::prim::{self, AttentionGeometry, AttentionPart, ConvGeometry, Part, Prim, Window};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops;

use super::Wiring;
use crate::attention::{self, Share};
use crate::columns::Taps;
use crate::conv::{Convolution, Panels, Way};
use crate::depthwise;
use crate::epilogue::Step;
use crate::kernel::Fold;
use crate::linear::Linear;
use crate::products::Chain;
use crate::weights::Weight;

impl Wiring<'_> {
    /// A product with a constant and what follows it.
    pub(super) fn product(&mut self, chain: &Chain) -> TractResult<OutletId> {
        let id = chain.product;
        let v = Value { node: id, slot: 0 };
        let operands = self.graph.node_inputs(id);
        let constant = self.constant(operands[1]);
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
            Prim::Conv(prim::Conv { geometry, w })
            | Prim::ConvTranspose(prim::ConvTranspose { geometry, w, .. }) => {
                let constant = constant.context("the weight is not a constant")?;
                let way = match self.graph.op(id) {
                    Prim::Conv(_) => Way::Forward,
                    _ => Way::Adjoint,
                };
                let outputs = constant.dims()[0];
                let (from, to) = if way == Way::Forward { (&x, &dims) } else { (&dims, &x) };
                let taps = Taps::new(geometry.window.clone(), &from[2..], &to[2..]);
                let q = constant.elems() / outputs.max(1);
                let (channels, groups) = (from[1], geometry.groups);
                let few = (outputs / groups) * (channels / groups) <= depthwise::FEW;
                let weight = self.cache.weight(operands[1].node, *w, &constant, q, few);
                let panels = Panels::default();
                Box::new(Convolution { way, taps, groups, dims, outputs, channels, weight, steps, panels })
            }
            Prim::MatMul(prim::MatMul { b, tb, .. }) => {
                let (k, n) = (x[x.len() - 1], dims[dims.len() - 1]);
                let rows = x[..x.len() - 1].iter().product();
                let weight = match (constant, self.given.iter().position(|v| *v == operands[1])) {
                    (Some(constant), _) => self.cache.weight(operands[1].node, Part::Id, &constant, k, false),
                    (None, Some(at)) => Weight::given(at, k),
                    (None, None) => bail!("the weight is neither constant nor given"),
                };
                Box::new(Linear { rows, k, n, dims, weight, part: *b, transposed: *tb, steps })
            }
            other => bail!("{} is not a product", other.name()),
        };
        let name = self.name(v);
        self.wire(&name, op, &inputs)
    }

    /// The sizes of an attention of `[q, k, v]`.
    pub(super) fn attention(
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
    pub(super) fn share(
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

    pub(super) fn matmul(
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

    pub(super) fn conv(
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
    pub(super) fn conv_transpose(
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
