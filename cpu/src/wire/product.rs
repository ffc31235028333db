//! Products and convolutions with a constant.

use dlbc_ops::graph::{PrintOp, Value};
use dlbc_ops::prim::{self, Prim, Transform};
use tract_onnx::tract_core::internal::*;

use crate::columns::Taps;
use crate::conv::{Convolution, Direction, MAX_DIRECT};
use crate::epilogue::Step;
use crate::linear::Linear;
use crate::panels::Panels;
use crate::products::Chain;
use crate::weights::{ApplyTransform, Weight};
use crate::wiring::Wiring;

impl Wiring<'_> {
    /// Adds a product and its epilogue.
    pub(super) fn product(&mut self, chain: &Chain) -> TractResult<OutletId> {
        let id = chain.product;
        let v = Value { node: id, slot: 0 };
        let operands = self.graph.node_inputs(id);
        let constant = self.constant(operands[1]);
        let mut inputs = vec![self.values[&operands[0]]];
        let mut steps = vec![];
        for step in &chain.steps {
            let input = inputs.len();
            if let Some(operand) = step.operand {
                inputs.push(self.transformed(operand, Transform::Id)?);
            }
            steps.push(Step { op: step.op, broadcast: step.broadcast, input });
        }
        let (x, dims) = (self.dims(operands[0]), self.dims(v));
        let op: Box<dyn TypedOp> = match self.graph.op(id) {
            Prim::Conv(prim::Conv { geometry, w })
            | Prim::ConvTranspose(prim::ConvTranspose { geometry, w, .. }) => {
                let constant = constant.context("weight: expected a constant")?;
                let direction = match self.graph.op(id) {
                    Prim::Conv(_) => Direction::Forward,
                    _ => Direction::Adjoint,
                };
                let outputs = constant.dims()[0];
                let (x_dims, y_dims) =
                    if direction == Direction::Forward { (&x, &dims) } else { (&dims, &x) };
                let taps = Taps::new(geometry.window.clone(), &x_dims[2..], &y_dims[2..]);
                let q = constant.elems() / outputs.max(1);
                let (channels, groups) = (x_dims[1], geometry.groups);
                let is_direct = (outputs / groups) * (channels / groups) <= MAX_DIRECT;
                let apply = if is_direct { ApplyTransform::AtPlan } else { ApplyTransform::AtUse };
                let weight = self.cache.weight(operands[1].node, *w, &constant, q, apply);
                let panels = Panels::default();
                Box::new(Convolution {
                    direction,
                    taps,
                    groups,
                    dims,
                    outputs,
                    channels,
                    weight,
                    steps,
                    panels,
                })
            }
            Prim::MatMul(prim::MatMul { b, tb, .. }) => {
                let (k, n) = (x[x.len() - 1], dims[dims.len() - 1]);
                let rows = x[..x.len() - 1].iter().product();
                let weight = match (constant, self.borrowed.iter().position(|v| *v == operands[1])) {
                    (Some(constant), _) => {
                        let apply = ApplyTransform::AtUse;
                        self.cache.weight(operands[1].node, Transform::Id, &constant, k, apply)
                    }
                    (None, Some(index)) => Weight::borrowed(index, k),
                    (None, None) => bail!("weight: expected a constant or an input, found a computed tensor"),
                };
                Box::new(Linear { rows, k, n, dims, weight, transform: *b, transposed: *tb, steps })
            }
            other => bail!("expected a product, found {}", other.name()),
        };
        let name = self.name(v);
        self.wire(&name, op, &inputs)
    }
}
