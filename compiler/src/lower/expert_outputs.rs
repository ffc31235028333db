//! Relevance and token count of each expert, as outputs of the program.

use std::collections::HashMap;

use dlbc_ops::graph::{Graph, NodeId, Value};
use dlbc_ops::op::Op;
use dlbc_ops::prim::{self, Binary, Builder, Reduction, Unary};
use dlbc_ops::program::{ExpertEntry, ExpertLayerInfo, Output};
use dlbc_ops::tensor::{DType, Dim, Shape};

use crate::expert_detection::{ExpertLayer, RoutedProduct, find_expert_layers};

/// Relevance and token count of the experts of one routed product, `[experts]` each.
struct ExpertTotals {
    relevance: Value,
    tokens: Value,
}

/// Adds the outputs of every layer of experts that relevance reached, and returns those layers. `received` maps a forward
/// node to the relevance of its result.
pub fn add_outputs(
    graph: &Graph<Op>,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    received: &HashMap<NodeId, Value>,
) -> Vec<ExpertLayerInfo> {
    let mut layers = vec![];
    for layer in find_expert_layers(graph) {
        let Some(layer_relevance) = received.get(&layer.sum).copied() else { continue };
        if !layer.products.iter().all(|p| received.contains_key(&p.product)) {
            continue;
        }
        let index = layers.len();
        b.set_origin(&graph.node(layer.sum).origin, &format!("experts.{index}"));
        let total = b.total(layer_relevance);
        let totals: Vec<ExpertTotals> = layer
            .products
            .iter()
            .map(|p| expert_totals(graph, b, values, received[&p.product], &layer, p))
            .collect();
        let mut by_expert: Vec<usize> = (0..totals.len()).collect();
        by_expert.sort_by_key(|i| layer.products[*i].expert);
        let concat = |b: &mut Builder, field: &dyn Fn(&ExpertTotals) -> Value| {
            let vectors: Vec<Value> = by_expert.iter().map(|i| field(&totals[*i])).collect();
            if vectors.len() == 1 { vectors[0] } else { b.add(prim::Concat { axis: 0 }, &vectors) }
        };
        let (relevance, tokens) = (concat(b, &|t| t.relevance), concat(b, &|t| t.tokens));
        for (entry, v) in ExpertEntry::ALL.into_iter().zip([relevance, tokens, total]) {
            b.graph_mut().add_output(Output::Expert { layer: index, entry }, v);
        }
        layers.push(ExpertLayerInfo { name: layer.name, experts: layer.experts });
    }
    layers
}

/// Sums the relevance that the experts of a product received, and counts the tokens whose routing weight for them is not 0.
fn expert_totals(
    graph: &Graph<Op>,
    b: &mut Builder,
    values: &HashMap<Value, Value>,
    received: Value,
    layer: &ExpertLayer,
    product: &RoutedProduct,
) -> ExpertTotals {
    let weight = values[&graph.node_inputs(product.product)[product.weight]];
    let zero = b.scalar_like(0.0, weight);
    let unrouted = b.binary(Binary::Equal, weight, zero);
    let routed = b.unary(Unary::Not, unrouted);
    let routed = b.cast(routed, DType::I64);
    let experts = if product.axis_from_end.is_some() { layer.experts } else { 1 };
    let vector = Shape(vec![Dim::known(experts as i64)]);
    let sum_by_expert = |b: &mut Builder, v: Value| {
        let rank = b.ty(v).rank();
        let expert_axis = product.axis_from_end.map(|k| rank - k);
        let axes: Vec<usize> = (0..rank).filter(|axis| Some(*axis) != expert_axis).collect();
        let v = b.reduce(Reduction::Sum, v, &axes);
        b.reshape(v, &vector)
    };
    ExpertTotals { relevance: sum_by_expert(b, received), tokens: sum_by_expert(b, routed) }
}
