//! Checks of a run on its own result: whether the map depends on its target, and why a map is empty.

mod family;
mod similar;
mod zero;

use dlbc_ops::program::Info;
use dlbc_runtime::{Explanation, Request, Target};
use serde::Serialize;

use crate::cli::terminal::Console;
use dlbc::explained::Explained;
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
    fn info(&self) -> &Info {
        self.explainer.info()
    }

    /// The explanations of other targets; `None` when they cannot be had. A check never fails a run.
    fn explain(&self, targets: &[Target], request: &Request) -> Option<Vec<Explanation>> {
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

/// Findings about a result.
#[derive(Default)]
pub struct Checks {
    /// Correlations of the maps of each two targets, or of the only one and the runner-up.
    pub correlations: Vec<Correlation>,
    /// Advice when the maps hardly depend on their targets.
    similar: Option<String>,
    /// Reasons why every relevance is 0, a place for each target; `None` where some relevance is not.
    pub zeros: Vec<Option<String>>,
}

impl Checks {
    /// Checks the explanations of a run and changes nothing of them; correlations only when `similar` asks for them.
    pub fn new(again: &Again, explained: &[Explained], similar: bool) -> Checks {
        let zeros = explained.iter().map(|e| zero::reason(again, e)).collect();
        let (correlations, similar) =
            if similar { similar::check(again, explained) } else { Default::default() };
        Checks { correlations, similar, zeros }
    }

    /// Says what was found.
    pub fn note(&self, explained: &[Explained], console: Console) {
        for (reason, e) in self.zeros.iter().zip(explained) {
            if let Some(reason) = reason {
                let which =
                    if explained.len() > 1 { format!("target {}: ", e.target.name) } else { String::new() };
                console.warn(format!("{which}every relevance is 0: {reason}"));
            }
        }
        if let Some(advice) = &self.similar {
            console.note(advice);
        }
    }
}

/// The relevance of all inputs, one after the other; in contrastive mode what supports minus what opposes.
fn map(explanation: &Explanation, info: &Info) -> Vec<f64> {
    let inputs = info.inputs.iter().filter(|i| i.explained);
    inputs.filter_map(|i| explanation.net(&i.name)).flat_map(|t| t.to_f64()).collect()
}
