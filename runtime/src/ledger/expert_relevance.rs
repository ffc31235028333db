//! Relevance of the experts of a mixture, read from the results of a reverse.

use dlbc_backend::Outputs;
use dlbc_ops::program::{ExpertEntry, Info, Output};
use dlbc_ops::tensor::Tensor;

/// A layer of experts with their relevance.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertLayer {
    /// Scope of the layer in the model.
    pub name: String,
    /// Relevance that reaches the sum of the experts; in contrastive mode that of the supporting track.
    pub received: f64,
    /// Experts, in the model's order.
    pub experts: Vec<ExpertShare>,
}

/// The share of one expert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertShare {
    /// Number of tokens that the router assigns to the expert.
    pub tokens: i64,
    /// Relevance of the expert's output times the routing weights.
    pub relevance: f64,
}

/// Reads the layers of experts from the results of a reverse.
pub(crate) fn experts(info: &Info, results: &Outputs) -> Vec<ExpertLayer> {
    let layers = info.experts.iter().enumerate().map(|(i, layer)| {
        let tensor = |entry: ExpertEntry| results.get(&Output::Expert { layer: i, entry });
        let relevance = tensor(ExpertEntry::Relevance).map(Tensor::to_f64).unwrap_or_default();
        let tokens = tensor(ExpertEntry::Tokens).map(Tensor::to_i64).unwrap_or_default();
        let pairs = tokens.into_iter().zip(relevance);
        ExpertLayer {
            name: layer.name.clone(),
            received: tensor(ExpertEntry::Received).map_or(0.0, |t| t.to_f64().iter().sum()),
            experts: pairs.map(|(tokens, relevance)| ExpertShare { tokens, relevance }).collect(),
        }
    });
    layers.collect()
}
