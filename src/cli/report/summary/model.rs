//! The data of a summary, as its JSON has them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::books::Books;
use super::detected::Detected;
use super::picture::Picture;
use crate::cli::checks::Correlation;
use dlbc::answer::Answer;
use dlbc::experts::Layer;
use dlbc::features::Features;
use dlbc::tokens::{TokenRelevance, Verdict, WordRelevance};

/// The most rows whose largest unit is listed in the tables.
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
    /// The forward.
    pub forward: f64,
    /// The reverse.
    pub reverse: f64,
}

/// The summary of a run: what is the same for all targets, and the first target.
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
    pub(super) first: OfTarget,
    #[serde(serialize_with = "in_order")]
    pub(super) outputs: Vec<(String, Answer)>,
    /// Every target, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_target: Vec<OfTarget>,
    /// Correlations of maps of different targets.
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
pub struct OfTarget {
    pub(super) target: String,
    pub(super) targets: Vec<i64>,
    /// The class name of the target, where it is one for all rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_name: Option<String>,
    /// Class names of `targets`, null where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) target_names: Vec<Option<String>>,
    /// The values of these units.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<f64>,
    /// The positions of the units, of an output [batch, position, unit] or with positions first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) positions: Vec<usize>,
    /// Number of positions of the output.
    #[serde(skip)]
    pub(super) length: usize,
    /// The box that each row explains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) boxes: Vec<Detected>,
    /// Number of elements of the output that start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pixels: Option<usize>,
    /// Reason why every relevance is 0; `None` where some is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zero: Option<String>,
    #[serde(flatten)]
    pub(super) books: Books,
    /// The other track of contrastive mode; what stands beside it is the supporting one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opposing: Option<Books>,
    /// The tokens of each text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tokens: Vec<Vec<TokenRelevance>>,
    /// The words of each text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) words: Vec<Vec<WordRelevance>>,
    /// The answer to each text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) texts: Vec<Verdict>,
    /// The features of a table.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) features: Option<Features>,
    /// Relevance that each expert received.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) experts: Vec<Layer>,
    /// The tokens as text.
    #[serde(skip)]
    pub(super) shown: String,
    /// Absolute relevance of the inputs over that of the start.
    #[serde(skip)]
    pub(super) reached: f64,
    /// Whether the units of `targets` say more than the target's name.
    #[serde(skip)]
    pub(super) found: bool,
}

/// A list of pairs as a map that keeps their order.
fn in_order<S: serde::Serializer>(pairs: &[(String, Answer)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, answer)| (name, answer)))
}
