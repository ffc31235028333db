//! Layers with weights: their unit axis, and the folding of constants into their weights and biases.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::{Add, Mul, Op, Reshape};
use dlbc_ops::tensor::{Dim, Shape, Tensor};

use super::pattern::{add_constant, eval_constant, joint_origin, replace_value};

/// Returns the axis of a layer's result along which its units lie: channels of a convolution, the last axis of `Linear`.
pub(super) fn unit_axis(graph: &Graph<Op>, layer: Value) -> Option<usize> {
    match graph.op(layer.node) {
        Op::Conv(_) | Op::ConvTranspose(_) => Some(1),
        Op::Linear(_) => graph.ty(layer).rank().checked_sub(1),
        _ => None,
    }
}

/// Returns a constant in the shape `[units]` if it is constant along all other axes of a layer's result.
pub(super) fn by_unit(graph: &Graph<Op>, layer: Value, t: &Tensor, units: usize) -> Option<Tensor> {
    let rank = graph.ty(layer).rank();
    let axis = unit_axis(graph, layer)?;
    let lead = rank.checked_sub(t.dims().len())?;
    let fits = t.dims().iter().enumerate().all(|(i, d)| *d == 1 || (i + lead == axis && *d == units));
    if !fits || !t.dtype().is_float() {
        return None;
    }
    match t.elems() {
        1 => Some(Tensor::from_f32(&[units], &vec![t.to_f32()[0]; units])),
        n if n == units => t.with_dims(&[units]),
        _ => None,
    }
}

/// Replaces `result = scale · layer + shift` by the layer with folded weight and bias; `scale` and `shift` are `[units]`.
pub(super) fn fold(
    graph: &mut Graph<Op>,
    layer: Value,
    scale: &Tensor,
    shift: &Tensor,
    result: Value,
) -> Option<()> {
    let operands = graph.node_inputs(layer.node);
    let weight = graph.constant(*operands.get(1)?)?.clone();
    let bias = match operands.get(2) {
        None => Some(shift.clone()),
        Some(b) => graph
            .constant(*b)
            .and_then(|b| eval_constant(Mul, &[b, scale]))
            .and_then(|b| eval_constant(Add, &[&b, shift])),
    };
    let dims = |axis: usize| {
        let mut dims = vec![Dim::known(1); weight.dims().len()];
        dims[axis] = Dim::known(scale.elems() as i64);
        Shape(dims)
    };
    let column = match graph.op(layer.node) {
        Op::Conv(_) => eval_constant(Reshape { to: dims(0) }, &[scale]),
        Op::Linear(l) => eval_constant(Reshape { to: dims(usize::from(!l.transposed)) }, &[scale]),
        Op::ConvTranspose(c) => scale_by_group(scale, c.geometry.groups, &weight),
        _ => return None,
    };
    let (weight, bias) = eval_constant(Mul, &[&weight, &column?]).zip(bias)?;
    let mut inputs = vec![operands[0]];
    for (tensor, suffix) in [(weight, "weight"), (bias, "bias")] {
        let name = format!("{}.{suffix}", graph.value_name(result));
        let origin = joint_origin(graph, &[layer.node, result.node]);
        inputs.push(add_constant(graph, tensor, &name, origin));
    }
    graph.set_inputs(layer.node, &inputs);
    absorb(graph, layer, result);
    Some(())
}

/// Returns the scales of a transposed convolution's weight `[channels, outputs / groups, …]`: each channel reaches the outputs
/// of its group.
fn scale_by_group(scale: &Tensor, groups: usize, weight: &Tensor) -> Option<Tensor> {
    let (channels, outputs) = (weight.dims()[0], weight.dims()[1]);
    let scale = scale.to_f32();
    let rows = (0..channels).map(|c| scale.get(c * groups / channels * outputs..)?.get(..outputs));
    let values: Vec<f32> = rows.collect::<Option<Vec<_>>>()?.concat();
    let dims = weight.dims().iter().enumerate().map(|(i, d)| if i < 2 { *d } else { 1 });
    Some(Tensor::from_f32(&dims.collect::<Vec<_>>(), &values))
}

/// Replaces `result` by `layer`, which takes its name and its origin.
pub(super) fn absorb(graph: &mut Graph<Op>, layer: Value, result: Value) {
    let origin = joint_origin(graph, &[layer.node, result.node]);
    graph.node_mut(layer.node).origin = origin;
    replace_value(graph, result, layer);
}
