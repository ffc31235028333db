//! Further explanations of the same inputs, and the maps to compare.

use dlbc_ops::program::Info;
use dlbc_runtime::{Explanation, Request, Target};
use serde::Serialize;

use dlbc::explainer::Explainer;
use dlbc::input::Inputs;

/// Model, inputs and request for explaining the same inputs again.
pub struct Again<'a> {
    /// The model's explainer.
    pub explainer: &'a Explainer,
    /// The inputs of the run.
    pub inputs: &'a Inputs,
    /// The request of the run.
    pub request: Request,
    /// Time of an explanation of one target, in seconds.
    pub seconds: f64,
}

impl Again<'_> {
    /// Returns the description of the model.
    pub fn info(&self) -> &Info {
        self.explainer.info()
    }

    /// Returns the explanations of other targets, or `None` if they fail: a check never fails a run.
    pub fn explain(&self, targets: &[Target], request: &Request) -> Option<Vec<Explanation>> {
        self.explainer.explain_targets(&self.inputs.tensors, targets, request).ok()
    }
}

/// Pearson's correlation of the maps of two targets over all inputs that carry relevance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// Names of the two targets; for a run with a single target the second is the runner-up.
    pub targets: [String; 2],
    /// Pearson's correlation, -1 to 1.
    pub pearson: f64,
}

/// Returns the relevance of all inputs, concatenated; in contrastive mode supporting minus opposing.
pub fn map(explanation: &Explanation, info: &Info) -> Vec<f64> {
    let inputs = info.inputs.iter().filter(|i| i.explained);
    inputs.filter_map(|i| explanation.net(&i.name)).flat_map(|t| t.to_f64()).collect()
}
