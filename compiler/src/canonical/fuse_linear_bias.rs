//! `Linear(x, W) + b`, `Conv(x, W) + b` and `ConvTranspose(x, W) + b` with a constant `b` by output unit become one layer with bias.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::Dim;

use super::layer::{absorb, by_unit, unit_axis};
use super::pass::Context;

/// Fuses every constant addend of a layer that has no bias yet.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    let mut changed = false;
    for add in graph.topological() {
        if !graph.contains(add) {
            continue;
        }
        if !matches!(graph.op(add), Op::Add(_)) {
            continue;
        }
        let inputs = graph.node_inputs(add);
        let &[a, b] = inputs.as_slice() else { continue };
        let (layer, bias) = if graph.constant(b).is_some() { (a, b) } else { (b, a) };
        let linear = matches!(graph.op(layer.node), Op::Linear(_) | Op::Conv(_) | Op::ConvTranspose(_));
        let operands = graph.node_inputs(layer.node);
        if !linear || operands.len() != 2 || graph.only_consumer(layer) != Some(add) {
            continue;
        }
        let Some(bias) = unit_bias(graph, layer, bias) else { continue };
        let mut operands = operands;
        operands.push(bias);
        graph.set_inputs(layer.node, &operands);
        absorb(graph, layer, Value { node: add, slot: 0 });
        changed = true;
    }
    changed
}

/// The constant `bias` as `[units]` of a layer's result, added as a new constant; `None` when it does not fit.
fn unit_bias(graph: &mut Graph<Op>, layer: Value, bias: Value) -> Option<Value> {
    let units: Dim = graph.ty(layer).dim(unit_axis(graph, layer)?).clone();
    let units = usize::try_from(units.as_known()?).ok()?;
    let tensor = by_unit(graph, layer, graph.constant(bias)?, units)?;
    let origin = graph.node(bias.node).origin.clone();
    let name = graph.value_name(bias).to_string();
    let ty = tensor.ty();
    Some(graph.add_value(Op::Const(tensor), &name, ty, origin, &[]))
}
