//! Experts of a run.

use dlbc_runtime::{ExpertLayer, Explanation};
use serde::Serialize;

/// A layer of experts.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Its scope in the model.
    pub layer: String,
    /// The relevance that came to the sum of its experts.
    pub received: f64,
    /// Of that, what no expert was given.
    pub residual: f64,
    /// Its experts.
    pub experts: Vec<Expert>,
}

/// An expert.
#[derive(Clone, Debug, Serialize)]
pub struct Expert {
    /// Its number.
    pub expert: usize,
    /// The tokens that the router sent it.
    pub tokens: i64,
    /// Its relevance.
    pub relevance: f64,
    /// Of the layer's, from 0 to 1; 0 where the layer got none.
    pub share: f64,
}

/// The layers of an explanation; none when they were not asked for.
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
