//! Products and convolutions with a constant.

use dlbc_ops::graph::{PrintOp, Value};
use dlbc_ops::prim::{self, Prim, Transform};
use tract_onnx::tract_core::internal::*;

use crate::columns::Taps;
use crate::conv::{Convolution, FEW, Panels, Way};
use crate::epilogue::Step;
use crate::linear::Linear;
use crate::products::Chain;
use crate::weights::Weight;
use crate::wiring::Wiring;

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
                inputs.push(self.part(*operand, Transform::Id)?);
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
                let few = (outputs / groups) * (channels / groups) <= FEW;
                let weight = self.cache.weight(operands[1].node, *w, &constant, q, few);
                let panels = Panels::default();
                Box::new(Convolution { way, taps, groups, dims, outputs, channels, weight, steps, panels })
            }
            Prim::MatMul(prim::MatMul { b, tb, .. }) => {
                let (k, n) = (x[x.len() - 1], dims[dims.len() - 1]);
                let rows = x[..x.len() - 1].iter().product();
                let weight = match (constant, self.given.iter().position(|v| *v == operands[1])) {
                    (Some(constant), _) => {
                        self.cache.weight(operands[1].node, Transform::Id, &constant, k, false)
                    }
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
}
