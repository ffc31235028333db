//! Errors of compilation. Operators report an [`OpError`] without a node; the compiler adds node and operator.

use dlbc_ops::OpError;
use dlbc_ops::graph::Fault;
use dlbc_proto::{Name, ProtoError};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// An operator that is not supported for the same reason in each of `nodes`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unsupported {
    /// Operator type, prefixed by its domain unless that is ai.onnx.
    pub op: String,
    /// Reason: no reader, an opset that no reader covers, or a property of the nodes.
    pub reason: String,
    /// True if the nodes are supported once the dimensions of the inputs are fixed.
    #[serde(skip)]
    pub symbolic: bool,
    /// Names of the nodes, in the order in which they were read.
    pub nodes: Vec<String>,
}

/// Failure of a compilation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// An invalid file, or an invalid tensor in it.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// A node that violates its operator's specification.
    #[error("node {node} ({op}): {source}")]
    Node {
        /// Name of the node.
        node: Name,
        /// Operator type of the node.
        op: Name,
        /// Violation that the operator reports.
        #[source]
        source: OpError,
    },
    /// A node input that no node, input or initializer defines.
    #[error(
        "node {node} ({op}): unknown input {slot}, {tensor}: expected the output of a node, an input or an initializer"
    )]
    MissingTensor {
        /// Name of the node.
        node: Name,
        /// Operator type of the node.
        op: Name,
        /// Index of the input among the node's inputs.
        slot: usize,
        /// Name of the tensor.
        tensor: Name,
    },
    /// A graph output that no node, input or initializer defines.
    #[error("unknown output {0}: expected the output of a node, an input or an initializer")]
    MissingOutput(Name),
    /// A node output whose name a node, an input or an initializer has already.
    #[error("node {node} ({op}): tensor {tensor} is the output of two nodes")]
    DuplicateResult {
        /// Name of the node that defines the tensor a second time.
        node: Name,
        /// Operator type of the node.
        op: Name,
        /// Name of the tensor.
        tensor: Name,
    },
    /// A graph output that is listed more than once.
    #[error("output {0} is listed twice")]
    DuplicateOutput(Name),
    /// Nodes that depend on one another.
    #[error("the graph has a cycle through nodes {0}")]
    Cycle(String),
    /// An initializer or input whose name another one has already.
    #[error("tensor {0} is defined twice")]
    DuplicateTensor(Name),
    /// A model without outputs.
    #[error("expected a model with at least one output, found none")]
    NoOutputs,
    /// A model input of an unsupported type, or one that `Options::shapes` does not fit.
    #[error("input {input}: {message}")]
    Input {
        /// Name of the input.
        input: Name,
        /// Description of the fault.
        message: String,
    },
    /// A local function that calls itself, directly or through others; the path of calls.
    #[error("local functions call one another in a cycle: {0}")]
    RecursiveFunction(String),
    /// A node of a domain whose opset version the model does not import.
    #[error(
        "node {node} ({op}): expected an opset of domain {domain} among the imports of the model, found none"
    )]
    NoOpset {
        /// Name of the node.
        node: Name,
        /// Operator type of the node.
        op: Name,
        /// Name of the domain.
        domain: Name,
    },
    /// All unsupported operators and inputs of the model.
    #[error("{}", describe(.0))]
    Unsupported(Vec<Unsupported>),
    /// More nodes than `Options::max_nodes`, after functions and loops are expanded.
    #[error("the model has too many nodes after functions and loops are expanded: the limit is {0}")]
    TooManyNodes(usize),
    /// An option with the name of an input or tensor that the model does not have.
    #[error("unknown {what} {}: expected {}", Name::new(.name), names(.known))]
    UnknownName {
        /// Kind of the named thing: `input`, `output` or `tensor`.
        what: &'static str,
        /// The unknown name.
        name: String,
        /// Names in the model, the most similar first.
        known: Vec<String>,
    },
    /// An unknown name of a composite.
    #[error("unknown composite `{name}`: expected {}", .known.join(", "))]
    UnknownComposite {
        /// The unknown name.
        name: String,
        /// Names of the built-in composites.
        known: Vec<&'static str>,
    },
    /// A mistake in a composite file.
    #[error("{place}: {message}")]
    InvalidComposite {
        /// Word that the mistake is about, and the words that may stand in its place.
        unknown: Option<UnknownWord>,
        /// File and line, as `FILE:LINE`.
        place: String,
        /// Description of the mistake.
        message: String,
    },
    /// Contrastive mode with a composite some of whose rules have no contrastive form.
    #[error(
        "composite `{composite}` has no contrastive mode: {}",
        .rules.iter().map(|(place, rule)| format!("{place}: rule `{rule}`")).collect::<Vec<_>>().join("; ")
    )]
    NotContrastive {
        /// Name of the composite.
        composite: String,
        /// Rules without contrastive form: place as `FILE:LINE`, and the rule.
        rules: Vec<(String, String)>,
    },
    /// The explained output does not depend on an input that carries relevance.
    #[error(
        "output {0} depends on no input that carries relevance: expected floats or token ids among its inputs"
    )]
    NothingToExplain(Name),
    /// A bug in dlbc: a graph that violates its invariants after a pass.
    #[error("pass `{pass}` broke the graph: {}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BrokenGraph {
        /// Name of the pass.
        pass: &'static str,
        /// Violated invariants.
        faults: Vec<Fault>,
    },
}

/// Kind of an error, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An invalid option.
    Usage,
    /// An invalid model.
    Invalid,
    /// A valid model that is not supported.
    Unsupported,
    /// A model beyond a limit.
    Limit,
    /// A bug in the compiler.
    Internal,
}

impl CompileError {
    /// Returns the kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CompileError::Proto(e) => match e.kind() {
                dlbc_proto::ErrorKind::Limit => ErrorKind::Limit,
                dlbc_proto::ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Invalid,
            },
            CompileError::Node { source, .. } => match source {
                OpError::Limit(_) | OpError::TensorBytes { .. } => ErrorKind::Limit,
                OpError::Unsupported(_) | OpError::Symbolic(_) => ErrorKind::Unsupported,
                _ => ErrorKind::Invalid,
            },
            CompileError::TooManyNodes(_) => ErrorKind::Limit,
            CompileError::Unsupported(_)
            | CompileError::NothingToExplain(_)
            | CompileError::NotContrastive { .. } => ErrorKind::Unsupported,
            CompileError::UnknownName { .. }
            | CompileError::UnknownComposite { .. }
            | CompileError::InvalidComposite { .. } => ErrorKind::Usage,
            CompileError::MissingTensor { .. }
            | CompileError::MissingOutput(_)
            | CompileError::DuplicateResult { .. }
            | CompileError::DuplicateOutput(_)
            | CompileError::Cycle(_)
            | CompileError::DuplicateTensor(_)
            | CompileError::NoOutputs
            | CompileError::Input { .. }
            | CompileError::RecursiveFunction(_)
            | CompileError::NoOpset { .. } => ErrorKind::Invalid,
            CompileError::BrokenGraph { .. } => ErrorKind::Internal,
        }
    }
}

/// An unknown word of a composite's file: a role, a rule, a parameter, a place or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// Words that may stand in its place.
    pub known: Vec<String>,
}

/// Largest number of names that a message lists.
const LISTED: usize = 8;

/// Lists the first names, followed by the number of those left out.
fn names(known: &[String]) -> String {
    let shown: Vec<String> = known.iter().take(LISTED).map(|n| Name::new(n).to_string()).collect();
    match known.len().saturating_sub(LISTED) {
        0 if shown.is_empty() => "none".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Stands in [`Unsupported::op`] for a model input whose type is not supported.
pub(crate) const MODEL_INPUT: &str = "model input";

/// Stands in [`Unsupported::op`] for a model output whose type is not supported.
pub(crate) const MODEL_OUTPUT: &str = "model output";

/// Lists unsupported operators, each with its number of nodes, its reason and its first node, and unsupported inputs and outputs.
fn describe(items: &[Unsupported]) -> String {
    let (outputs, others): (Vec<_>, Vec<_>) = items.iter().partition(|i| i.op == MODEL_OUTPUT);
    let (inputs, operators): (Vec<_>, Vec<_>) = others.into_iter().partition(|i| i.op == MODEL_INPUT);
    let count = |items: &[&Unsupported]| items.iter().map(|i| i.nodes.len()).sum::<usize>();
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let mut titles = vec![];
    if !operators.is_empty() {
        let (kinds, nodes) = (operators.len(), count(&operators));
        titles.push(format!("{kinds} unsupported operator{} ({nodes} node{})", s(kinds), s(nodes)));
    }
    if !inputs.is_empty() {
        titles.push(format!("{} unsupported input{}", count(&inputs), s(count(&inputs))));
    }
    if !outputs.is_empty() {
        titles.push(format!("{} unsupported output{}", count(&outputs), s(count(&outputs))));
    }
    let first = |i: &Unsupported| Name::new(i.nodes.first().map_or("", String::as_str)).to_string();
    let operators = operators
        .iter()
        .map(|i| format!("{} ×{} ({}), first {}", Name::new(&i.op), i.nodes.len(), i.reason, first(i)));
    let names = |i: &Unsupported| i.nodes.iter().map(|n| Name::new(n).to_string()).collect::<Vec<_>>();
    let tensors = inputs.iter().chain(&outputs);
    let tensors = tensors.map(|i| format!("{} ({})", names(i).join(", "), i.reason));
    let list: Vec<String> = operators.chain(tensors).collect();
    format!("{}: {}", titles.join(" and "), list.join("; "))
}
