//! Results in memory, under the keys of result files.

use std::collections::BTreeMap;

use dlbc_runtime::Explanation;

use super::keys;
use super::read::Stored;
use crate::explainer::Explainer;

/// Returns the outputs of an explanation and the relevance of its tensors under the keys of result files, for
/// [`difference`](crate::diff::difference). In contrastive mode the relevance is the supporting minus the opposing.
pub fn stored(explainer: &Explainer, explanation: &Explanation) -> Stored {
    let info = explainer.info();
    let outputs = explanation.outputs.iter().map(|(name, t)| (keys::output(name), t.clone()));
    let names = explanation.supporting.relevance.keys();
    let relevance = names.filter_map(|name| Some((keys::relevance(name), explanation.net(name)?)));
    let metadata = [
        ("explained", &info.explained),
        ("model", &info.model),
        ("rules", &info.rules),
        ("rules_hash", &info.rules_hash),
    ];
    let metadata: BTreeMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    Stored { tensors: outputs.chain(relevance).collect(), metadata }
}
