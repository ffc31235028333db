//! Modes of an explanation and their tracks of relevance.

use serde::{Deserialize, Serialize};

/// How many tracks of relevance there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One.
    #[default]
    Default,
    /// Two: supporting and opposing.
    Contrastive,
}

impl Mode {
    /// The name that `--mode` takes.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Default => "default",
            Mode::Contrastive => "contrastive",
        }
    }

    /// The tracks of relevance.
    pub fn tracks(self) -> &'static [TrackKind] {
        match self {
            Mode::Default => &[TrackKind::Single],
            Mode::Contrastive => &[TrackKind::Supporting, TrackKind::Opposing],
        }
    }

    /// The single or the supporting track, and the opposing one.
    pub fn pair(self) -> (TrackKind, Option<TrackKind>) {
        match self {
            Mode::Default => (TrackKind::Single, None),
            Mode::Contrastive => (TrackKind::Supporting, Some(TrackKind::Opposing)),
        }
    }
}

/// A track of relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackKind {
    /// All relevance, of both signs: the only track of [`Mode::Default`].
    #[default]
    Single,
    /// Relevance that speaks for the target, in [`Mode::Contrastive`].
    Supporting,
    /// Relevance that speaks against the target, in [`Mode::Contrastive`].
    Opposing,
}

impl TrackKind {
    /// The words before the tensor's name in the spelling of its relevance.
    pub fn relevance(self) -> &'static str {
        match self {
            TrackKind::Single => "relevance/",
            TrackKind::Supporting => "relevance_pos/",
            TrackKind::Opposing => "relevance_neg/",
        }
    }

    /// The words before the row in the spelling of the ledger.
    pub fn ledger(self) -> &'static str {
        match self {
            TrackKind::Single | TrackKind::Supporting => "audit/",
            TrackKind::Opposing => "audit_neg/",
        }
    }
}
