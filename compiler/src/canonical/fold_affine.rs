//! A layer followed by a constant scale or shift by unit becomes one layer: `a · (W x + b) + c = (a W) x + (a b + c)`.
//!
//! Exporters write batch normalisation that way. A scale that precedes an activation is not touched: it is no part of the
//! layer then.

use dlbc_ops::graph::{Graph, Value};
use dlbc_ops::op::Op;
use dlbc_ops::tensor::Tensor;

use super::layer::{apply, by_unit, unit_axis};
use super::pass::Context;

/// Folds every `Mul` and `Add` by a constant of units into the layer before it.
pub fn run(graph: &mut Graph<Op>, _: &Context) -> bool {
    let mut changed = false;
    for id in graph.topological() {
        if !graph.contains(id) {
            continue;
        }
        if !matches!(graph.op(id), Op::Mul(_) | Op::Add(_)) {
            continue;
        }
        let inputs = graph.node_inputs(id);
        let &[a, b] = inputs.as_slice() else { continue };
        let (layer, factor) = if graph.constant(b).is_some() { (a, b) } else { (b, a) };
        if graph.only_consumer(layer) != Some(id) {
            continue;
        }
        let mul = matches!(graph.op(id), Op::Mul(_));
        let Some(units) = unit_axis(graph, layer).and_then(|axis| graph.ty(layer).dim(axis).as_known())
        else {
            continue;
        };
        let Some(vector) = graph.constant(factor).and_then(|t| by_unit(graph, layer, t, units as usize))
        else {
            continue;
        };
        let ones = Tensor::from_f32(&[units as usize], &vec![1.0; units as usize]);
        let zeros = Tensor::from_f32(&[units as usize], &vec![0.0; units as usize]);
        let (scale, shift) = if mul { (vector, zeros) } else { (ones, vector) };
        changed |= apply(graph, layer, &scale, &shift, Value { node: id, slot: 0 });
    }
    changed
}
