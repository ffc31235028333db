//! `Linear(x, W) + b`, `Conv(x, W) + b` and `ConvTranspose(x, W) + b` with a constant `b` by output unit become one layer with bias.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::{Op, eval};
use dlbc_ops::tensor::Dim;

use super::Context;
use super::fold_affine::by_unit;

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

/// Lets `layer` take the place, the name and the origin of `result`, which is removed.
pub(super) fn absorb(graph: &mut Graph<Op>, layer: Value, result: Value) {
    graph.replace(result, layer);
    let name = graph.value_name(result).to_string();
    let origin = graph.node(layer.node).origin.join(&graph.node(result.node).origin);
    graph.node_mut(layer.node).origin = origin;
    graph.remove(result.node);
    graph.rename(layer, &name);
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

/// The axis of a layer's result that counts its units.
pub(super) fn unit_axis(graph: &Graph<Op>, layer: Value) -> Option<usize> {
    match graph.op(layer.node) {
        Op::Conv(_) | Op::ConvTranspose(_) => Some(1),
        Op::Linear(_) => graph.ty(layer).rank().checked_sub(1),
        _ => None,
    }
}

/// Evaluates an operator on constants.
pub(super) fn constant(
    op: impl Into<Op>,
    inputs: &[&dlbc_ops::tensor::Tensor],
) -> Option<dlbc_ops::tensor::Tensor> {
    let op = op.into();
    let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
    let ty = op.infer(&types).ok()?.into_iter().next()?;
    eval(&op, inputs, &ty).ok()
}
