//! Lowered program and its description: the content of an artifact.

mod output;
mod track;
mod trees;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Origin};
use crate::prim::Prim;
use crate::tensor::{Dim, Tensor, TensorType};

pub use output::{ExpertEntry, LedgerEntry, Name, Output, TreesEntry};
pub use track::{Mode, TrackKind};
pub use trees::{EnsembleInfo, ScoreInfo, SourceInfo, TreesInfo};

/// Name of the program input that holds the seed: relevance of the explained output, of that output's shape.
pub const SEED: &str = "dlbc_seed";

/// Prefix of the symbol of a dimension that is 0, or -1 in a run that takes a branch which does not fit the shapes of
/// the inputs.
pub const UNFIT_PREFIX: &str = "unfit";

/// Lowered program: forward and reverse together.
///
/// Graph inputs are the model's inputs by their ONNX names, then [`SEED`]. Graph outputs are listed by [`Output`]. In
/// contrastive mode the seed has a leading axis of two (supporting, opposing), and each track of [`Mode::tracks`] has
/// its own outputs.
///
/// A run requests a subset of the outputs; what they do not depend on is not computed.
#[derive(Clone, Debug)]
pub struct Program {
    /// Graph of primitives.
    pub graph: Graph<Prim>,
    /// Description of the program for its callers.
    pub info: Info,
}

impl Program {
    /// Returns whether the program holds this entry of each of its ensembles of trees.
    pub fn has_trees_entry(&self, entry: TreesEntry) -> bool {
        let has_entry = |ensemble| self.graph.output(&entry.of(ensemble)).is_some();
        self.info.trees.as_ref().is_some_and(|trees| (0..trees.ensembles.len()).all(has_entry))
    }

    /// Adds the rows of a background to the program, as each ensemble of trees reads them.
    pub fn set_tree_background(&mut self, rows: Vec<Tensor>) {
        for (ensemble, rows) in rows.into_iter().enumerate() {
            let (name, ty) = (format!("tree_background_{ensemble}"), rows.ty());
            let value = self.graph.add_value(Prim::Const(rows), &name, ty, Origin::default(), &[]);
            self.graph.add_output(TreesEntry::Background.of(ensemble), value);
        }
    }

    /// Returns the symbol of the batch dimension if the program accepts any number of rows: the first axis of every
    /// input and of the explained output has this symbol, and no other axis does.
    pub fn batch_symbol(&self) -> Option<Arc<str>> {
        let (graph, info) = (&self.graph, &self.info);
        let explained = graph.output(&Output::from(&info.explained)).map(|v| graph.ty(v))?;
        let mut firsts = info.inputs.iter().map(|i| &i.ty).chain([explained]).map(|ty| ty.shape.0.first());
        let batch = firsts.next()??;
        let mut symbols = vec![];
        batch.symbols(&mut |s| symbols.push(s.clone()));
        let [symbol] = symbols.as_slice() else { return None };
        if *batch != Dim::symbol(symbol) || !firsts.all(|first| first == Some(batch)) {
            return None;
        }
        // A symbol that is also the length of another axis cannot grow with the batch alone.
        let rest = info.inputs.iter().flat_map(|i| i.ty.shape.0.iter().skip(1));
        let mut elsewhere = false;
        rest.for_each(|dim| dim.symbols(&mut |s| elsewhere |= s == symbol));
        (!elsewhere).then(|| symbol.clone())
    }
}

/// Description of a program: its model, composite, inputs, outputs and ledger. Serialised into artifacts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// File name of the model, without folder.
    pub model: String,
    /// SHA-256 of the model file and of each external file it references: `(file name, hex digest)`.
    pub hashes: Vec<(String, String)>,
    /// Name of the composite.
    pub rules: String,
    /// SHA-256 of the composite's file, in hexadecimal; empty in old artifacts.
    #[serde(default)]
    pub rules_hash: String,
    /// Repetition over several inputs whose results are averaged; `None` for a single run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// Trees whose Shapley values explain the output; `None` for an explanation by rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trees: Option<TreesInfo>,
    /// Number of relevance tracks.
    pub mode: Mode,
    /// Name of the explained output.
    pub explained: String,
    /// Model inputs, in the model's order.
    pub inputs: Vec<InputInfo>,
    /// Names of the model outputs, in the model's order.
    pub outputs: Vec<String>,
    /// Rows of the ledger, from the explained output to the inputs.
    #[serde(rename = "audit")]
    pub ledger: Vec<LedgerRowInfo>,
    /// Explained inputs that the model normalises itself, although the rules do not take its constants as a reference.
    #[serde(default, rename = "raw", skip_serializing_if = "Vec::is_empty")]
    pub self_normalized: Vec<String>,
    /// Mixture-of-experts layers, in the model's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<ExpertLayerInfo>,
    /// Metadata of the model file by key, and [`CLASS_LABELS`] if a node of the model holds class names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// True if the model reads NaN as a missing value, so that inputs may contain it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_missing: bool,
    /// Strings of the model, which programs know by their index; the number after the last one stands for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vocabulary: Vec<String>,
    /// Names of the inputs and outputs that are strings of [`Info::vocabulary`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strings: Vec<String>,
    /// Outputs that a sigmoid or softmax computes: their values are probabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<String>,
    /// Sign convention of the seed; the default in old artifacts.
    #[serde(default, rename = "start")]
    pub seed: SeedInfo,
}

/// Sign of the seed of an explained unit, chosen such that positive relevance of the inputs speaks for the unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedInfo {
    /// Convention that the first rules below the explained output require.
    pub sign: SeedSign,
    /// Activation that computes the explained output and that relevance passes unchanged, if any.
    #[serde(default, rename = "behind", skip_serializing_if = "Option::is_none")]
    pub activation: Option<FinalActivation>,
}

/// Sign convention of the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeedSign {
    /// Positive; the seed of a difference of two units is 1 and -1 times the multiplier. For derivatives.
    #[default]
    Unit,
    /// Positive, because the first rule divides by a quantity without a sign. The seed of a difference is both values.
    Positive,
    /// Sign of the value that the first rule divides by. The seed of a difference is both values.
    Value,
}

/// Activation that computes the explained output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalActivation {
    /// Operator of the activation, such as `Softmax`.
    pub op: String,
    /// Name of the tensor that the activation reads, such as the logits.
    pub tensor: String,
}

/// Key of [`Info::metadata`] for class names held by a node of the model: a JSON list in the order of the units.
pub const CLASS_LABELS: &str = "classlabels";

/// Mixture-of-experts layer that relevance reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpertLayerInfo {
    /// Scope of the layer in the model.
    pub name: String,
    /// Number of experts.
    pub experts: usize,
}

impl Info {
    /// Iterates over the relevance outputs of the explained inputs: one per track, with the input.
    pub fn explanations(&self) -> impl Iterator<Item = (Output, &InputInfo)> {
        let inputs = self.inputs.iter().filter(|i| i.explained);
        let relevance = |input, track: &TrackKind| Output::relevance(*track, input);
        inputs.flat_map(move |i| self.mode.tracks().iter().map(move |t| (relevance(i.name.as_str(), t), i)))
    }
}

/// Repetition of a program of derivatives over several inputs, whose results are averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// Mean derivative over the straight line from a baseline to the input, times their difference. Sums to the
    /// difference of the outputs, up to the error of Gauss-Legendre quadrature \\[sundararajan2017\\].
    IntegratedGradients {
        /// Number of quadrature points.
        steps: usize,
        /// Start of the line.
        baseline: Baseline,
    },
    /// Mean over inputs with added normal noise \\[smilkov2017\\].
    SmoothGrad {
        /// Number of noisy inputs.
        samples: usize,
        /// Standard deviation of the noise, relative to the range of values in a row.
        noise: f64,
        /// Seed of the random number generator.
        seed: u64,
    },
}

/// Reference input that carries no information.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// The same value for every element.
    Value(f64),
    /// Smallest value of the row.
    #[serde(rename = "least")]
    Smallest,
    /// Largest value of the row.
    #[serde(rename = "greatest")]
    Largest,
    /// Mean of the row.
    Mean,
    /// The input that the model's own normalisation maps to 0; 0 if the model does not normalise.
    Scaler,
}

/// Input of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputInfo {
    /// ONNX name.
    pub name: String,
    /// Type; dimensions may be symbolic.
    pub ty: TensorType,
    /// True if relevance reaches the input, so that the program has an output `relevance/NAME`.
    pub explained: bool,
}

/// Row of the ledger: the description of one rule node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerRowInfo {
    /// Name of the forward node's first output tensor.
    pub node: String,
    /// Operator of the forward node.
    pub op: String,
    /// Text form of the rule.
    pub rule: String,
    /// Names of the operands that receive relevance.
    pub operands: Vec<String>,
    /// Path of the module that the node belongs to, outermost first; empty if the model does not say.
    #[serde(default)]
    pub scope: Vec<String>,
    /// Modules that received relevance from the node, without repetition; `None` stands for the model's inputs.
    #[serde(default)]
    pub to: Vec<Option<Vec<String>>>,
}
