//! Relevance of the experts of a run, by layer.

use dlbc_runtime::{ExpertLayer, Explanation};
use serde::Serialize;

/// Layer of experts.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Scope of the layer in the model.
    pub layer: String,
    /// Relevance that the sum of the layer's experts received.
    pub received: f64,
    /// Part of the received relevance that did not go to an expert.
    pub residual: f64,
    /// Experts of the layer, by index.
    pub experts: Vec<Expert>,
}

/// Expert of a layer.
#[derive(Clone, Debug, Serialize)]
pub struct Expert {
    /// Index of the expert in its layer.
    pub expert: usize,
    /// Number of tokens that the router sent to the expert.
    pub tokens: i64,
    /// Relevance of the expert.
    pub relevance: f64,
    /// Share of the relevance that the layer received, 1 for all of it; 0 if the layer received none.
    pub share: f64,
}

/// Returns the layers of an explanation; empty if they were not requested.
pub fn layers(explanation: &Explanation) -> Vec<Layer> {
    explanation.experts.iter().flatten().map(layer).collect()
}

fn layer(layer: &ExpertLayer) -> Layer {
    let sum: f64 = layer.experts.iter().map(|e| e.relevance).sum();
    let share = |r: f64| if layer.received == 0.0 { 0.0 } else { r / layer.received };
    let experts = layer.experts.iter().enumerate().map(|(expert, e)| Expert {
        expert,
        tokens: e.tokens,
        relevance: e.relevance,
        share: share(e.relevance),
    });
    Layer {
        layer: layer.name.clone(),
        received: layer.received,
        residual: layer.received - sum,
        experts: experts.collect(),
    }
}
