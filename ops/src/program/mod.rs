//! A lowered program with what a caller must know of it: the content of an artifact.

mod output;
mod track;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::prim::Prim;
use crate::tensor::{Dim, TensorType};

pub use output::{Entry, ExpertEntry, Name, Output};
pub use track::{Mode, TrackKind};

/// Name of the program input that holds the starting relevance; its shape is that of the explained output.
pub const SEED: &str = "dlbc_seed";

/// What the symbol of a dimension begins with that is 0, or -1 in a run that takes a branch which does not fit the shapes of
/// the inputs.
pub const UNFIT: &str = "unfit";

/// A lowered program, forward and reverse together.
///
/// Graph inputs: the model's inputs by their ONNX names, then [`SEED`]. Graph outputs: [`Output`] lists them. In contrastive mode
/// the seed has a leading axis of two, the supporting and the opposing start, and each track of [`Mode::tracks`] has its outputs.
///
/// A run asks for a subset; what it does not need is not computed.
#[derive(Clone, Debug)]
pub struct Program {
    /// The lowered graph.
    pub graph: Graph<Prim>,
    /// What the caller must know.
    pub info: Info,
}

impl Program {
    /// The symbol of the batch, where the program takes any number of rows: the first axis of every input and of the explained
    /// output is one symbol, and nothing else.
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
        // A length that is the batch's too cannot grow alone.
        let rest = info.inputs.iter().flat_map(|i| i.ty.shape.0.iter().skip(1));
        let mut elsewhere = false;
        rest.for_each(|dim| dim.symbols(&mut |s| elsewhere |= s == symbol));
        (!elsewhere).then(|| symbol.clone())
    }
}

/// What a caller must know of a program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The model's name: its file name without folder.
    pub model: String,
    /// SHA-256 of the model file and of each external file it references, `(file name, hex digest)`.
    pub hashes: Vec<(String, String)>,
    /// The composite's name.
    pub rules: String,
    /// SHA-256 of the composite's file, in hexadecimal.
    #[serde(default)]
    pub rules_hash: String,
    /// How often and where the program runs, when the result is a mean over runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
    /// How many tracks of relevance.
    pub mode: Mode,
    /// The explained output.
    pub explained: String,
    /// The model's inputs, in order.
    pub inputs: Vec<InputInfo>,
    /// The model's outputs, in order.
    pub outputs: Vec<String>,
    /// The ledger's rows, in reverse order of computation: from the output to the inputs.
    pub audit: Vec<AuditRow>,
    /// Explained inputs that the model normalises itself while the rules do not take the constants as a reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<String>,
    /// The layers of experts, in the model's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<ExpertLayerInfo>,
    /// Metadata of the model file by key, and [`CLASS_LABELS`] where a node of the model holds the names of its classes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The outputs that a sigmoid or a softmax makes: their values are probabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<String>,
    /// The sign of a unit's start; artifacts of before have the default.
    #[serde(default)]
    pub start: StartInfo,
}

/// The sign of the relevance that a unit starts with, so that positive relevance of the inputs speaks for the unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartInfo {
    /// The convention that follows from the first rules below the explained output.
    pub sign: StartSign,
    /// The function that relevance passes unchanged before it reaches the values that count, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
}

/// A convention for the sign of the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartSign {
    /// Positive; a difference starts with 1 and -1 times the multiplier. For derivatives.
    #[default]
    Unit,
    /// Positive: the first rule divides by what has no sign. A difference starts with both values.
    Positive,
    /// The sign of the value that the first rule divides by. A difference starts with both values.
    Value,
}

/// A final activation and the values before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// The activation's operator, such as `Softmax`.
    pub op: String,
    /// The tensor that it reads: the logits.
    pub tensor: String,
}

/// Key of [`Info::metadata`] for class names that a node of the model holds: a JSON list in the order of the units.
pub const CLASS_LABELS: &str = "classlabels";

/// A layer of experts that relevance reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpertLayerInfo {
    /// Its scope in the model.
    pub name: String,
    /// The number of experts.
    pub experts: usize,
}

impl Info {
    /// The relevance of the explained inputs, each with its input.
    pub fn explanations(&self) -> impl Iterator<Item = (Output, &InputInfo)> {
        let inputs = self.inputs.iter().filter(|i| i.explained);
        let relevance = |input, track: &TrackKind| Output::relevance(*track, input);
        inputs.flat_map(move |i| self.mode.tracks().iter().map(move |t| (relevance(i.name.as_str(), t), i)))
    }
}

/// Runs of a program of derivatives whose mean is the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// The mean over the straight line from a baseline to the input, times their difference: it sums to the difference of
    /// the outputs, but for the error of the quadrature (Gauss-Legendre) \[sundararajan2017\].
    IntegratedGradients {
        /// Points of the quadrature.
        steps: usize,
        /// Where the line starts.
        baseline: Baseline,
    },
    /// The mean over inputs with normal noise \[smilkov2017\].
    SmoothGrad {
        /// Inputs with noise.
        samples: usize,
        /// Standard deviation of the noise, as a share of the range of a row's values.
        noise: f64,
        /// Of the random numbers.
        seed: u64,
    },
}

/// An input without information.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// This value everywhere.
    Value(f64),
    /// The least value of the row.
    Least,
    /// The greatest value of the row.
    Greatest,
    /// The mean of the row.
    Mean,
    /// The input that the model's own normalisation maps to 0, where it has one; else 0.
    Scaler,
}

/// A model input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputInfo {
    /// The ONNX name.
    pub name: String,
    /// Its type; a dimension is a number or a symbol.
    pub ty: TensorType,
    /// Whether relevance reaches it: `relevance/NAME` exists.
    pub explained: bool,
}

/// A row of the ledger: one rule node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// The forward node's first output tensor.
    pub node: String,
    /// The operator.
    pub op: String,
    /// The rule.
    pub rule: String,
    /// The data operands that receive relevance, by tensor name.
    pub operands: Vec<String>,
    /// The path of the module that the node is part of, outermost first; empty where nothing says so.
    #[serde(default)]
    pub scope: Vec<String>,
    /// The modules of the nodes that got relevance from it, each once; `None` for the model's inputs.
    #[serde(default)]
    pub to: Vec<Option<Vec<String>>>,
}
