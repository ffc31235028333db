//! The result of a run: relevance, the ledger, what was explained and how long it took.

use std::collections::BTreeMap;

use dlbc_backend::Tensors;
use dlbc_ops::tensor::Tensor;

use crate::detection::Detected;
use crate::ledger::LedgerRow;
use crate::ledger::expert_relevance::ExpertsLayer;
use crate::ledger::modules::{HeadRow, LayerRow};

/// What a run takes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    /// Binding and planning; next to nothing when the plan is cached.
    pub prepare: f64,
    /// The forward.
    pub forward: f64,
    /// The reverse.
    pub reverse: f64,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The model's outputs by name.
    pub outputs: Tensors,
    /// Relevance by tensor name, of the tensor's shape.
    pub relevance: Tensors,
    /// The greatest unit of each row of the explained output; empty when units are not on a last axis.
    pub argmax: Vec<i64>,
    /// The unit that each row (and position, when all are explained) explains, or the class of its pixels; empty when several
    /// are at once.
    pub targets: Vec<i64>,
    /// The box that each row explains, of a detection.
    pub boxes: Vec<Detected>,
    /// The starting relevance, of the explained output's shape.
    pub seed: Tensor,
    /// The sum of the starting relevance.
    pub start: f64,
    /// The sum of the relevance of each explained input.
    pub inputs: BTreeMap<String, f64>,
    /// What was absorbed on the way: the ledger's sum with an audit, else start minus inputs.
    pub absorbed: f64,
    /// The ledger, from the output to the inputs, when asked for.
    pub ledger: Option<Vec<LedgerRow>>,
    /// The ledger by module, when asked for.
    pub layers: Option<Vec<LayerRow>>,
    /// The heads of the attentions, when asked for.
    pub heads: Option<Vec<HeadRow>>,
    /// What each expert was given, by layer in the model's order, when asked for.
    pub experts: Option<Vec<ExpertsLayer>>,
    /// The opposing track in contrastive mode; all of the above is the supporting one then.
    pub opposing: Option<Opposing>,
    /// Times.
    pub seconds: Seconds,
}

/// The opposing track of a contrastive explanation; its fields mean what those of [`Explanation`] do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opposing {
    /// Relevance by tensor name.
    pub relevance: Tensors,
    /// The sum of the starting relevance.
    pub start: f64,
    /// The sum of the relevance of each explained input.
    pub inputs: BTreeMap<String, f64>,
    /// What was absorbed on the way.
    pub absorbed: f64,
    /// The ledger.
    pub ledger: Option<Vec<LedgerRow>>,
    /// The ledger by module.
    pub layers: Option<Vec<LayerRow>>,
    /// The heads of the attentions.
    pub heads: Option<Vec<HeadRow>>,
}

/// One track of an explanation; its fields mean what those of [`Explanation`] do.
#[derive(Clone, Copy, Debug)]
pub struct Books<'a> {
    /// Relevance by tensor name.
    pub relevance: &'a Tensors,
    /// The sum of the starting relevance.
    pub start: f64,
    /// The sum of the relevance of each explained input.
    pub inputs: &'a BTreeMap<String, f64>,
    /// What was absorbed on the way.
    pub absorbed: f64,
    /// The ledger.
    pub ledger: Option<&'a [LedgerRow]>,
    /// The ledger by module.
    pub layers: Option<&'a [LayerRow]>,
    /// The heads of the attentions.
    pub heads: Option<&'a [HeadRow]>,
}

impl Books<'_> {
    /// What started, what the inputs received together, what was absorbed.
    pub fn sums(&self) -> [f64; 3] {
        [self.start, self.inputs.values().sum(), self.absorbed]
    }
}

impl Explanation {
    /// The tracks: one, or in contrastive mode the supporting and the opposing one.
    pub fn tracks(&self) -> Vec<Books<'_>> {
        let own = Books {
            relevance: &self.relevance,
            start: self.start,
            inputs: &self.inputs,
            absorbed: self.absorbed,
            ledger: self.ledger.as_deref(),
            layers: self.layers.as_deref(),
            heads: self.heads.as_deref(),
        };
        let opposing = self.opposing.as_ref().map(|o| Books {
            relevance: &o.relevance,
            start: o.start,
            inputs: &o.inputs,
            absorbed: o.absorbed,
            ledger: o.ledger.as_deref(),
            layers: o.layers.as_deref(),
            heads: o.heads.as_deref(),
        });
        [own].into_iter().chain(opposing).collect()
    }

    /// The relevance of a tensor: in contrastive mode what supports minus what opposes.
    pub fn net(&self, name: &str) -> Option<Tensor> {
        let supporting = self.relevance.get(name)?;
        let Some(opposing) = self.opposing.as_ref().and_then(|o| o.relevance.get(name)) else {
            return Some(supporting.clone());
        };
        let (a, b) = (supporting.to_f32(), opposing.to_f32());
        let net: Vec<f32> = a.iter().zip(b.iter()).map(|(a, b)| a - b).collect();
        Some(Tensor::from_f32(supporting.dims(), &net))
    }
}
