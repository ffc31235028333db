//! Folds a constant scale or shift of each unit into the layer before it: `a · (W x + b) + c = (a W) x + (a b + c)`.
//!
//! Exporters write batch normalisation that way. A scale after an activation stays, since it does not belong to the layer.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::Tensor;

use super::layer::{by_unit, fold, unit_axis};
use super::pass::Context;
use super::pattern::each;

/// Folds each `Mul` and `Add` by a constant along the unit axis into the layer before it.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, fold_scale_or_shift)
}

fn fold_scale_or_shift(graph: &mut Graph<Op>, id: NodeId) -> Option<()> {
    let is_scale = match graph.op(id) {
        Op::Mul(_) => true,
        Op::Add(_) => false,
        _ => return None,
    };
    let inputs = graph.node_inputs(id);
    let &[a, b] = inputs.as_slice() else { return None };
    let (layer, factor) = if graph.constant(b).is_some() { (a, b) } else { (b, a) };
    if graph.only_consumer(layer) != Some(id) {
        return None;
    }
    let units = graph.ty(layer).dim(unit_axis(graph, layer)?).as_known()? as usize;
    let vector = by_unit(graph, layer, graph.constant(factor)?, units)?;
    let filled = |value: f32| Tensor::from_f32(&[units], &vec![value; units]);
    let (scale, shift) = if is_scale { (vector, filled(0.0)) } else { (filled(1.0), vector) };
    fold(graph, layer, &scale, &shift, Value { node: id, slot: 0 })
}
