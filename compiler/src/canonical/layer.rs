//! Layers with weights: the axis of their units, and constants that fold into their weights and biases.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::{Add, Mul, Op, Reshape};
use dlbc_ops::tensor::{Dim, Shape, Tensor};

use super::pattern::{add_constant, constant, origin, take_place};

/// The axis of a layer's result that counts its units.
pub(super) fn unit_axis(graph: &Graph<Op>, layer: Value) -> Option<usize> {
    match graph.op(layer.node) {
        Op::Conv(_) | Op::ConvTranspose(_) => Some(1),
        Op::Linear(_) => graph.ty(layer).rank().checked_sub(1),
        _ => None,
    }
}

/// A constant as `[units]` when it broadcasts to a layer's result along its unit axis only.
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

/// Folds `scale · layer + shift` (both `[units]`) into the layer and lets it stand for `result`.
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
            .and_then(|b| constant(Mul, &[b, scale]))
            .and_then(|b| constant(Add, &[&b, shift])),
    };
    let dims = |axis: usize| {
        let mut dims = vec![Dim::known(1); weight.dims().len()];
        dims[axis] = Dim::known(scale.elems() as i64);
        Shape(dims)
    };
    let column = match graph.op(layer.node) {
        Op::Conv(_) => constant(Reshape { to: dims(0) }, &[scale]),
        Op::Linear(l) => constant(Reshape { to: dims(usize::from(!l.transposed)) }, &[scale]),
        Op::ConvTranspose(c) => by_group(scale, c.geometry.groups, &weight),
        _ => return None,
    };
    let (weight, bias) = constant(Mul, &[&weight, &column?]).zip(bias)?;
    let mut inputs = vec![operands[0]];
    for (tensor, suffix) in [(weight, "weight"), (bias, "bias")] {
        let name = format!("{}.{suffix}", graph.value_name(result));
        let origin = origin(graph, &[layer.node, result.node]);
        inputs.push(add_constant(graph, tensor, &name, origin));
    }
    graph.set_inputs(layer.node, &inputs);
    absorb(graph, layer, result);
    Some(())
}

/// The scales of a transposed convolution's weight `[c, o/groups, …]`: each channel reaches the outputs of its group.
fn by_group(scale: &Tensor, groups: usize, weight: &Tensor) -> Option<Tensor> {
    let (channels, own) = (weight.dims()[0], weight.dims()[1]);
    let scale = scale.to_f32();
    let rows = (0..channels).map(|c| scale.get(c * groups / channels * own..)?.get(..own));
    let values: Vec<f32> = rows.collect::<Option<Vec<_>>>()?.concat();
    let dims = weight.dims().iter().enumerate().map(|(i, d)| if i < 2 { *d } else { 1 });
    Some(Tensor::from_f32(&dims.collect::<Vec<_>>(), &values))
}

/// Lets `layer` take the place, the name and the origin of `result`, which is removed.
pub(super) fn absorb(graph: &mut Graph<Op>, layer: Value, result: Value) {
    let origin = origin(graph, &[layer.node, result.node]);
    graph.node_mut(layer.node).origin = origin;
    take_place(graph, result, layer);
}
