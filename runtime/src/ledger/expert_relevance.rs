//! What each expert of a mixture was given, from the tensors of a run.

use dlbc_backend::Outputs;
use dlbc_ops::program::{ExpertEntry, Info, Output};
use dlbc_ops::tensor::Tensor;

/// A layer of experts in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertLayer {
    /// Its scope in the model.
    pub name: String,
    /// The relevance that came to the sum of its experts; of the supporting track in contrastive mode.
    pub received: f64,
    /// Its experts, in order.
    pub experts: Vec<ExpertShare>,
}

/// What an expert was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpertShare {
    /// The tokens that the router sent it.
    pub tokens: i64,
    /// Its relevance: of what it said, times the routing weights.
    pub relevance: f64,
}

/// The layers of experts from the tensors that a reverse made.
pub(crate) fn experts(info: &Info, made: &Outputs) -> Vec<ExpertLayer> {
    let layers = info.experts.iter().enumerate().map(|(i, layer)| {
        let of = |entry: ExpertEntry| made.get(&Output::Expert { layer: i, entry });
        let relevance = of(ExpertEntry::Relevance).map(Tensor::to_f64).unwrap_or_default();
        let tokens = of(ExpertEntry::Tokens).map(Tensor::to_i64).unwrap_or_default();
        let pairs = tokens.into_iter().zip(relevance);
        ExpertLayer {
            name: layer.name.clone(),
            received: of(ExpertEntry::Received).map_or(0.0, |t| t.to_f64().iter().sum()),
            experts: pairs.map(|(tokens, relevance)| ExpertShare { tokens, relevance }).collect(),
        }
    });
    layers.collect()
}
