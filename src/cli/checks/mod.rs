//! Checks of a run's result: the dependence of its maps on their targets, and reasons for empty maps.

mod again;
mod family;
mod finding;
mod similar;
mod zero;

use crate::cli::terminal::Console;
use dlbc::explained::Explained;

pub use again::{Again, Correlation};
pub use finding::Finding;

/// Findings about the result of a run.
#[derive(Default)]
pub struct Checks {
    /// Correlations of the maps of every pair of targets, or of a single target and the runner-up.
    pub correlations: Vec<Correlation>,
    /// Finding that the maps hardly depend on their targets.
    similar: Option<Finding>,
    /// Reason why every relevance of a target is 0, in the order of the targets; `None` if some relevance is not 0.
    pub zeros: Vec<Option<Finding>>,
}

impl Checks {
    /// Checks the explanations of a run; measures correlations only if `compare` is true.
    pub fn new(again: &Again, explained: &[Explained], compare: bool) -> Checks {
        let zeros = explained.iter().map(|e| zero::reason(again, e)).collect();
        let (correlations, similar) = if compare && again.request.seed.is_none() {
            similar::check(again, explained)
        } else {
            Default::default()
        };
        Checks { correlations, similar, zeros }
    }

    /// Writes the findings: a warning for each empty map, a note for similar maps.
    pub fn note(&self, explained: &[Explained], console: Console) {
        for (reason, e) in self.zeros.iter().zip(explained) {
            if let Some(reason) = reason {
                let which =
                    if explained.len() > 1 { format!("target {}: ", e.target.name) } else { String::new() };
                console
                    .warn_with_help(&format!("{which}every relevance is 0: {}", reason.text), &reason.help);
            }
        }
        if let Some(similar) = &self.similar {
            console.note_with_help(&similar.text, &similar.help);
        }
    }
}
