//! Results of a run: outputs of the model, tracks of relevance with their ledgers, and timings.

use std::collections::BTreeMap;

use dlbc_backend::{Outputs, Tensors};
use dlbc_ops::program::{Info, TrackKind};
use dlbc_ops::tensor::Tensor;

use crate::detection::Detected;
use crate::ledger::expert_relevance::ExpertLayer;
use crate::ledger::modules::{self, HeadRow, ModuleRow};
use crate::ledger::{Ledger, relevance_tensor};
use crate::request::Request;

/// Times of a run, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Time of binding and planning; close to 0 when the plan is cached.
    pub prepare: f64,
    /// Time of the forward.
    pub forward: f64,
    /// Time of the reverse, with the seed.
    pub reverse: f64,
}

/// The explanation of one target.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The model's outputs by name: all, or those that the request names and the explained one.
    pub outputs: Tensors,
    /// The explained positions, if the explained output is among `outputs` for these alone; see
    /// [`Request::outputs`](crate::Request::outputs). Output and seed are then `[batch, 1, unit]`.
    pub at_positions: Option<AtPositions>,
    /// Starting relevance: float32, of the explained output's shape, 0 at elements that are not explained.
    pub seed: Tensor,
    /// Index of the largest unit of each row, at its last explained position; empty for pixels and boxes.
    pub argmax: Vec<i64>,
    /// Explained unit of each row, or of each position of each row with [`Position::All`](crate::Position::All); the minuend
    /// of a difference, the class of pixels or boxes. Empty for a target of all units or of those above a threshold.
    pub targets: Vec<i64>,
    /// Explained box of each row; empty unless the target is a box.
    pub boxes: Vec<Detected>,
    /// Supporting track in contrastive mode, else the only track.
    pub supporting: Track,
    /// Opposing track in contrastive mode, else `None`.
    pub opposing: Option<Track>,
    /// Layers of experts with the relevance of each expert, in the model's order; `None` unless requested.
    pub experts: Option<Vec<ExpertLayer>>,
    /// Timings of the run.
    pub timings: Timings,
}

/// Explained positions of an output `[batch, position, unit]`, one in each row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AtPositions {
    /// Dimensions of the whole output.
    pub dims: Vec<usize>,
    /// Index of the position of each row.
    pub positions: Vec<usize>,
}

/// A track of relevance: the only one, or in contrastive mode the evidence that supports the target or that opposes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Track {
    /// Role of the track: single, supporting or opposing.
    pub kind: TrackKind,
    /// Relevance of the explained inputs and of other requested tensors, by name: float32, of the tensor's shape.
    pub relevance: Tensors,
    /// Sum of the starting relevance.
    pub seed_sum: f64,
    /// Sum of the relevance of each explained input, by name.
    pub input_sums: BTreeMap<String, f64>,
    /// Relevance that nodes absorb: the sum over the ledger if the request asks for it, else `seed_sum` minus the sum of
    /// `input_sums`.
    pub absorbed: f64,
    /// Ledger of the rule nodes; `None` unless requested.
    pub ledger: Option<Ledger>,
    /// Ledger of the modules; `None` unless requested.
    pub modules: Option<Vec<ModuleRow>>,
    /// Relevance of the attention heads; `None` unless requested.
    pub heads: Option<Vec<HeadRow>>,
}

impl Track {
    /// Reads a track, whose seed is `seed`, from the results of a reverse.
    pub(crate) fn read(
        info: &Info,
        results: &Outputs,
        kind: TrackKind,
        seed: &Tensor,
        request: &Request,
    ) -> Track {
        let seed_sum: f64 = seed.to_f64().iter().sum();
        let ledger = request.ledger.then(|| Ledger::of_track(info, results, kind));
        let relevance: Tensors = results
            .iter()
            .filter_map(|(output, v)| Some((relevance_tensor(output, kind)?.to_string(), v.clone())))
            .collect();
        let explained = info.inputs.iter().filter(|i| i.explained);
        let input_sums: BTreeMap<String, f64> = explained
            .filter_map(|i| Some((i.name.clone(), relevance.get(&i.name)?.to_f64().iter().sum())))
            .collect();
        let absorbed = match &ledger {
            Some(ledger) => ledger.total_absorbed(),
            None => seed_sum - input_sums.values().sum::<f64>(),
        };
        let modules = request.modules.then(|| modules::modules(info, results, kind));
        let heads = request.heads.then(|| modules::heads(info, results, kind));
        Track { kind, relevance, seed_sum, input_sums, absorbed, ledger, modules, heads }
    }

    /// Returns the sum of the starting relevance, the sum of the relevance of all explained inputs, and the absorbed relevance.
    pub fn sums(&self) -> [f64; 3] {
        [self.seed_sum, self.input_sums.values().sum(), self.absorbed]
    }
}

impl Explanation {
    /// Iterates over the tracks: a single one, or in contrastive mode the supporting and the opposing one.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.supporting).chain(&self.opposing)
    }

    /// Returns the relevance of a tensor by name, in contrastive mode the supporting minus the opposing relevance; `None` for a
    /// tensor whose relevance the request does not ask for.
    pub fn net(&self, name: &str) -> Option<Tensor> {
        let supporting = self.supporting.relevance.get(name)?;
        let Some(opposing) = self.opposing.as_ref().and_then(|o| o.relevance.get(name)) else {
            return Some(supporting.clone());
        };
        let (a, b) = (supporting.to_f32(), opposing.to_f32());
        let net: Vec<f32> = a.iter().zip(b.iter()).map(|(a, b)| a - b).collect();
        Some(Tensor::from_f32(supporting.dims(), &net))
    }
}
