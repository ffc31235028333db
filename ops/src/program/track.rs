//! Modes of explanation and their relevance tracks.

use serde::{Deserialize, Serialize};

/// Mode of explanation: determines the number of relevance tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One track with relevance of both signs.
    #[default]
    Default,
    /// Two tracks: supporting and opposing relevance.
    Contrastive,
}

impl Mode {
    /// Returns the mode's name: `default` or `contrastive`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Default => "default",
            Mode::Contrastive => "contrastive",
        }
    }

    /// Returns the relevance tracks of the mode.
    pub fn tracks(self) -> &'static [TrackKind] {
        match self {
            Mode::Default => &[TrackKind::Single],
            Mode::Contrastive => &[TrackKind::Supporting, TrackKind::Opposing],
        }
    }

    /// Returns the single or supporting track, and the opposing track if there is one.
    pub fn pair(self) -> (TrackKind, Option<TrackKind>) {
        match self {
            Mode::Default => (TrackKind::Single, None),
            Mode::Contrastive => (TrackKind::Supporting, Some(TrackKind::Opposing)),
        }
    }
}

/// Relevance track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackKind {
    /// Relevance of both signs: the only track of [`Mode::Default`].
    #[default]
    Single,
    /// Relevance in favour of the target, in [`Mode::Contrastive`].
    Supporting,
    /// Relevance against the target, in [`Mode::Contrastive`].
    Opposing,
}
