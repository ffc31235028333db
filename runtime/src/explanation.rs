//! The result of a run: relevance, the ledger, what was explained and how long it took.

use std::collections::BTreeMap;

use dlbc_backend::{Outputs, Tensors};
use dlbc_ops::program::{Info, TrackKind};
use dlbc_ops::tensor::Tensor;

use crate::detection::Detected;
use crate::ledger::expert_relevance::ExpertLayer;
use crate::ledger::modules::{self, HeadRow, ModuleRow};
use crate::ledger::{Ledger, tensor};
use crate::request::Request;

/// Times of a run, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Binding and planning; next to nothing when the plan is cached.
    pub prepare: f64,
    /// The forward.
    pub forward: f64,
    /// The reverse.
    pub reverse: f64,
}

/// The result of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The model's outputs by name.
    pub outputs: Tensors,
    /// The starting relevance, of the explained output's shape.
    pub seed: Tensor,
    /// The largest unit of each row of the explained output; empty when units are not on a last axis.
    pub argmax: Vec<i64>,
    /// The unit that each row (and position, when all are explained) explains, or the class of its pixels; empty when several
    /// are at once.
    pub targets: Vec<i64>,
    /// The box that each row explains, of a detection.
    pub boxes: Vec<Detected>,
    /// The supporting track in contrastive mode, else the only one.
    pub supporting: Track,
    /// The opposing track in contrastive mode.
    pub opposing: Option<Track>,
    /// The relevance that each expert received, by layer in the model's order, when asked for.
    pub experts: Option<Vec<ExpertLayer>>,
    /// Times.
    pub timings: Timings,
}

/// One track of relevance: all of it, or in contrastive mode what supports the target or what opposes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Track {
    /// The part of the explanation that the track is.
    pub kind: TrackKind,
    /// Relevance by tensor name, of the tensor's shape.
    pub relevance: Tensors,
    /// The sum of the starting relevance.
    pub start: f64,
    /// The sum of the relevance of each explained input.
    pub inputs: BTreeMap<String, f64>,
    /// Relevance absorbed on the way: the ledger's sum if it was asked for, else start minus inputs.
    pub absorbed: f64,
    /// The ledger, when asked for.
    pub ledger: Option<Ledger>,
    /// The ledger by module, when asked for.
    pub modules: Option<Vec<ModuleRow>>,
    /// The heads of the attentions, when asked for.
    pub heads: Option<Vec<HeadRow>>,
}

impl Track {
    /// The track among the results of a reverse.
    pub(crate) fn read(
        info: &Info,
        results: &Outputs,
        kind: TrackKind,
        start: &Tensor,
        request: &Request,
    ) -> Track {
        let start: f64 = start.to_f64().iter().sum();
        let ledger = request.ledger.then(|| Ledger::of_track(info, results, kind));
        let relevance: Tensors = results
            .iter()
            .filter_map(|(output, v)| Some((tensor(output, kind)?.to_string(), v.clone())))
            .collect();
        let explained = info.inputs.iter().filter(|i| i.explained);
        let inputs: BTreeMap<String, f64> = explained
            .filter_map(|i| Some((i.name.clone(), relevance.get(&i.name)?.to_f64().iter().sum())))
            .collect();
        let absorbed = match &ledger {
            Some(ledger) => ledger.total_absorbed(),
            None => start - inputs.values().sum::<f64>(),
        };
        let modules = request.modules.then(|| modules::modules(info, results, kind));
        let heads = request.heads.then(|| modules::heads(info, results, kind));
        Track { kind, relevance, start, inputs, absorbed, ledger, modules, heads }
    }

    /// Start, sum of the inputs, and absorbed relevance.
    pub fn sums(&self) -> [f64; 3] {
        [self.start, self.inputs.values().sum(), self.absorbed]
    }
}

impl Explanation {
    /// The tracks: one, or in contrastive mode the supporting and the opposing one.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.supporting).chain(&self.opposing)
    }

    /// The relevance of a tensor: in contrastive mode what supports minus what opposes.
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
