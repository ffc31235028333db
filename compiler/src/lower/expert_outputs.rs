//! What each expert was given, as outputs of the program.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::{self, Binary, Builder, Reduction, Unary};
use dlbc_ops::program::{ExpertEntry, ExpertLayerInfo, Output};
use dlbc_ops::tensor::{DType, Dim, Shape};

use crate::expert_detection::{ExpertLayer, RoutedProduct, find_expert_layers};

/// Adds the outputs of every layer of experts that relevance reached; returns those layers.
pub fn add_outputs(
    graph: &Graph<Op>,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    arrived: &HashMap<NodeId, Value>,
) -> Vec<ExpertLayerInfo> {
    let mut reached = vec![];
    for layer in find_expert_layers(graph) {
        let Some(received) = arrived.get(&layer.sum).copied() else { continue };
        if !layer.slots.iter().all(|s| arrived.contains_key(&s.product)) {
            continue;
        }
        let at = reached.len();
        b.set_origin(&graph.node(layer.sum).origin, &format!("experts.{at}"));
        let total = b.total(received);
        let parts: Vec<(Value, Value)> = layer
            .slots
            .iter()
            .map(|slot| slot_of(graph, b, values, arrived[&slot.product], &layer, slot))
            .collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|i| layer.slots[*i].expert);
        let all = |b: &mut Builder, of: &dyn Fn(&(Value, Value)) -> Value| {
            let parts: Vec<Value> = order.iter().map(|i| of(&parts[*i])).collect();
            if parts.len() == 1 { parts[0] } else { b.add(prim::Concat { axis: 0 }, &parts) }
        };
        let (relevance, tokens) = (all(b, &|p| p.0), all(b, &|p| p.1));
        for (entry, v) in ExpertEntry::ALL.into_iter().zip([relevance, tokens, total]) {
            b.graph_mut().add_output(Output::Expert { layer: at, entry }, v);
        }
        reached.push(ExpertLayerInfo { name: layer.name, experts: layer.experts });
    }
    reached
}

/// What the experts of a slot were given and how many tokens had a weight for them, a vector each.
fn slot_of(
    graph: &Graph<Op>,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    received: Value,
    layer: &ExpertLayer,
    slot: &RoutedProduct,
) -> (Value, Value) {
    let weight = values[&graph.node_inputs(slot.product)[slot.weight]];
    let zero = b.scalar_like(0.0, weight);
    let none = b.binary(Binary::Equal, weight, zero);
    let some = b.unary(Unary::Not, none);
    let ones = b.cast(some, DType::I64);
    let count = if slot.axis_from_end.is_some() { layer.experts } else { 1 };
    let own = Shape(vec![Dim::known(count as i64)]);
    let sum = |b: &mut Builder, v: Value| {
        let rank = b.ty(v).rank();
        let kept = slot.axis_from_end.map(|k| rank - k);
        let axes: Vec<usize> = (0..rank).filter(|a| Some(*a) != kept).collect();
        let v = b.reduce(Reduction::Sum, v, &axes, false);
        b.reshape(v, &own)
    };
    (sum(b, received), sum(b, ones))
}
