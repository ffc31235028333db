//! A layer followed by a constant scale or shift by unit becomes one layer: `a · (W x + b) + c = (a W) x + (a b + c)`.
//!
//! Exporters write batch normalisation that way. A scale that precedes an activation is not touched: it is no part of the
//! layer then.

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::Tensor;

use super::layer::{by_unit, fold, unit_axis};
use super::pass::Context;
use super::pattern::each;

/// Folds every `Mul` and `Add` by a constant of units into the layer before it.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    each(graph, scale_or_shift)
}

fn scale_or_shift(graph: &mut Graph<Op>, id: NodeId) -> Option<()> {
    let mul = match graph.op(id) {
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
    let (scale, shift) = if mul { (vector, filled(0.0)) } else { (filled(1.0), vector) };
    fold(graph, layer, &scale, &shift, Value { node: id, slot: 0 })
}
