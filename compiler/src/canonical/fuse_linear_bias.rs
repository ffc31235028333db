//! Fuses `Linear(x, W) + b`, `Conv(x, W) + b` and `ConvTranspose(x, W) + b` into a layer with bias, for constant `W` and
//! `b`, where `b` lies along the unit axis.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::Dim;

use super::layer::{absorb, by_unit, unit_axis};
use super::pass::Context;
use super::pattern::{add_constant, each};

/// Fuses each constant addend of a layer that has no bias yet.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, fuse)
}

fn fuse(graph: &mut Graph<Op>, add: NodeId) -> Option<()> {
    let inputs = graph.node_inputs(add);
    let (Op::Add(_), &[a, b]) = (graph.op(add), inputs.as_slice()) else { return None };
    let (layer, bias) = if graph.constant(b).is_some() { (a, b) } else { (b, a) };
    let is_layer = matches!(graph.op(layer.node), Op::Linear(_) | Op::Conv(_) | Op::ConvTranspose(_));
    let mut operands = graph.node_inputs(layer.node);
    let is_fixed = operands.get(1).is_some_and(|w| graph.constant(*w).is_some());
    if !is_layer || !is_fixed || operands.len() != 2 || graph.only_consumer(layer) != Some(add) {
        return None;
    }
    operands.push(unit_bias(graph, layer, bias)?);
    graph.set_inputs(layer.node, &operands);
    absorb(graph, layer, Value { node: add, slot: 0 });
    Some(())
}

/// Adds the constant `bias` in the shape `[units]`; `None` if it varies along another axis than the unit axis.
fn unit_bias(graph: &mut Graph<Op>, layer: Value, bias: Value) -> Option<Value> {
    let units: Dim = graph.ty(layer).dim(unit_axis(graph, layer)?).clone();
    let units = usize::try_from(units.as_known()?).ok()?;
    let tensor = by_unit(graph, layer, graph.constant(bias)?, units)?;
    let origin = graph.node(bias.node).origin.clone();
    let name = graph.value_name(bias).to_string();
    Some(add_constant(graph, tensor, &name, origin))
}
