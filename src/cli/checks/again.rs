//! Another explanation of the same inputs, and the maps that are compared.

use dlbc_ops::program::Info;
use dlbc_runtime::{Explanation, Request, Target};
use serde::Serialize;

use dlbc::explainer::Explainer;
use dlbc::input::Inputs;

/// Everything that explains the same inputs once more.
pub struct Again<'a> {
    /// The model's explainer.
    pub explainer: &'a Explainer,
    /// The inputs of the run.
    pub inputs: &'a Inputs,
    /// The request of the run.
    pub request: Request,
    /// Seconds that an explanation of one target took.
    pub seconds: f64,
}

impl Again<'_> {
    /// Returns the description of the model.
    pub fn info(&self) -> &Info {
        self.explainer.info()
    }

    /// Returns the explanations of other targets; `None` when they cannot be had. A check never fails a run.
    pub fn explain(&self, targets: &[Target], request: &Request) -> Option<Vec<Explanation>> {
        self.explainer.explain_targets(&self.inputs.tensors, targets, request).ok()
    }
}

/// Pearson's correlation of the maps of two targets over all inputs that carry relevance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// Names of the two targets; of a single target the second is the runner-up.
    pub targets: [String; 2],
    /// The correlation, -1 to 1.
    pub pearson: f64,
}

/// The relevance of all inputs, one after the other; in contrastive mode what supports minus what opposes.
pub fn map(explanation: &Explanation, info: &Info) -> Vec<f64> {
    let inputs = info.inputs.iter().filter(|i| i.explained);
    inputs.filter_map(|i| explanation.net(&i.name)).flat_map(|t| t.to_f64()).collect()
}
