//! Data of a summary, in the form of its JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::detected::Detected;
use super::picture::Picture;
use super::track::TrackSummary;
use crate::cli::checks::Correlation;
use dlbc::answer::Answer;
use dlbc::experts::Layer;
use dlbc::features::Features;
use dlbc::tokens::{TokenRelevance, Verdict, WordRelevance};

/// Maximum number of rows whose largest unit the tables list.
pub const LISTED: usize = 8;

/// Seconds of each phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// Reading the model and the inputs.
    pub load: f64,
    /// Compiling the model.
    pub compile: f64,
    /// Planning for the inputs' shapes.
    pub prepare: f64,
    /// Forward pass.
    pub forward: f64,
    /// Reverse pass.
    pub reverse: f64,
}

/// Summary of a run: the fields that all targets share, and those of the first target.
#[derive(Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub(super) picture: Option<Picture>,
    pub(super) model: String,
    pub(super) device: String,
    pub(super) rules: String,
    pub(super) rules_hash: String,
    pub(super) mode: &'static str,
    pub(super) explained: String,
    #[serde(flatten)]
    pub(super) first: TargetSummary,
    #[serde(serialize_with = "in_order")]
    pub(super) outputs: Vec<(String, Answer)>,
    /// Every target; empty for a single target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_target: Vec<TargetSummary>,
    /// Correlations between the maps of different targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) target_correlation: Vec<Correlation>,
    pub(super) seconds: Times,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repeat: Option<usize>,
    pub(super) hashes: BTreeMap<String, String>,
    pub(super) version: &'static str,
}

/// Result of a run for one target.
#[derive(Clone, Serialize)]
pub struct TargetSummary {
    pub(super) target: String,
    pub(super) targets: Vec<i64>,
    /// Class name of the target, if it is the same for all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_name: Option<String>,
    /// Class names of `targets`, null for a class without a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) target_names: Vec<Option<String>>,
    /// Values of the units in `targets`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<f64>,
    /// Positions of the units, for outputs `[batch, position, unit]` or `[position, batch, unit]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) positions: Vec<usize>,
    /// Number of positions of the output.
    #[serde(skip)]
    pub(super) length: usize,
    /// Box that each row explains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) boxes: Vec<Detected>,
    /// Number of output elements with starting relevance, for pixel targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pixels: Option<usize>,
    /// Reason why every relevance is 0; `None` if some is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zero: Option<String>,
    /// Supporting track, or the only one.
    #[serde(flatten)]
    pub(super) supporting: TrackSummary,
    /// Opposing track, in contrastive mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opposing: Option<TrackSummary>,
    /// Tokens of each text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tokens: Vec<Vec<TokenRelevance>>,
    /// Words of each text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) words: Vec<Vec<WordRelevance>>,
    /// Model's answer to each text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) texts: Vec<Verdict>,
    /// Features of a table.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) features: Option<Features>,
    /// Relevance that each expert received.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) experts: Vec<Layer>,
    /// Tokens formatted for a terminal.
    #[serde(skip)]
    pub(super) shown: String,
    /// Ratio of absolute relevance: all inputs over the start.
    #[serde(skip)]
    pub(super) reached: f64,
    /// True if the tables list the units of `targets`, because the target's name does not determine them.
    #[serde(skip)]
    pub(super) shows_units: bool,
}

/// Serialises a list of pairs as a map that keeps their order.
pub fn in_order<S: serde::Serializer>(pairs: &[(String, Answer)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, answer)| (name, answer)))
}
