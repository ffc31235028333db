//! Checks of a run on its own result: whether the map depends on its target, and why a map is empty.

mod again;
mod family;
mod similar;
mod zero;

use crate::cli::terminal::Console;
use dlbc::explained::Explained;

pub use again::{Again, Correlation};

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
