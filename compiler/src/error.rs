//! Errors of compilation. The driver adds the node once; operators never know theirs.

use dlbc_ops::OpError;
use dlbc_ops::graph::Fault;
use dlbc_proto::{Name, ProtoError};
use thiserror::Error;

/// What is not supported: an operator and the nodes that have it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unsupported {
    /// The operator, with its domain unless that is ai.onnx.
    pub op: String,
    /// Why: no reader, an opset that no reader covers, or a property of the nodes.
    pub reason: String,
    /// The nodes' names.
    pub nodes: Vec<String>,
}

/// Why a model does not compile.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The file or one of its tensors.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// A node that violates its operator's specification.
    #[error("node {node} ({op}): {source}")]
    Node {
        /// The node's name.
        node: Name,
        /// Its operator.
        op: Name,
        /// What is wrong.
        #[source]
        source: OpError,
    },
    /// A tensor that nothing makes.
    #[error("node {node} ({op}): input {slot} {tensor} is made by no node, input or initializer")]
    MissingTensor {
        /// The node's name.
        node: Name,
        /// Its operator.
        op: Name,
        /// Which input.
        slot: usize,
        /// The tensor.
        tensor: Name,
    },
    /// A graph output that nothing makes.
    #[error("output {0} is made by no node, input or initializer")]
    MissingOutput(Name),
    /// A node whose output another node, an input or an initializer already is.
    #[error("node {node} ({op}): output {tensor} is made twice")]
    MadeTwice {
        /// The second maker's name.
        node: Name,
        /// Its operator.
        op: Name,
        /// The tensor.
        tensor: Name,
    },
    /// A graph output that is listed more than once.
    #[error("output {0} is listed twice")]
    DuplicateOutput(Name),
    /// Nodes that wait for one another.
    #[error("the graph has a cycle through nodes {0}")]
    Cycle(String),
    /// Two values of one name.
    #[error("tensor {0} is made twice")]
    Duplicate(Name),
    /// A model without outputs.
    #[error("the model has no outputs")]
    NoOutputs,
    /// A model input that cannot be used.
    #[error("input {input}: {message}")]
    Input {
        /// The input.
        input: Name,
        /// What is wrong.
        message: String,
    },
    /// A local function that calls itself.
    #[error("local functions call one another in a circle: {0}")]
    RecursiveFunction(String),
    /// An operator whose domain's version the model does not state.
    #[error("node {node} ({op}): the model imports no opset of domain {domain}")]
    NoOpset {
        /// The node's name.
        node: Name,
        /// Its operator.
        op: Name,
        /// The domain.
        domain: Name,
    },
    /// All that is not supported, at once.
    #[error("{}", describe(.0))]
    Unsupported(Vec<Unsupported>),
    /// More nodes than allowed, after functions are expanded.
    #[error("the model has more than {0} nodes (`--max-nodes`)")]
    TooManyNodes(usize),
    /// An option that names something the model does not have.
    #[error("the model has no {what} {}: it has {}", Name::new(.name), names(.known))]
    UnknownName {
        /// The kind of thing that is named: an input, a tensor.
        what: &'static str,
        /// The unknown name.
        name: String,
        /// The names that there are, the most similar first.
        known: Vec<String>,
    },
    /// No such composite.
    #[error("no composite is named `{name}`: there are {}", .known.join(", "))]
    UnknownRules {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A mistake in a composite.
    #[error("{place}: {message}")]
    Rules {
        /// The file and the line.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// Contrastive mode with a composite that has no two tracks.
    #[error(
        "composite `{composite}` has no contrastive mode: {}",
        .rules.iter().map(|(place, rule)| format!("{place}: rule `{rule}`")).collect::<Vec<_>>().join("; ")
    )]
    OneTrack {
        /// The composite.
        composite: String,
        /// Its rules without a contrastive form: file and line, and the rule.
        rules: Vec<(String, String)>,
    },
    /// The explained output does not depend on an input that carries relevance.
    #[error(
        "output {0} depends on no input that carries relevance (floats, token ids; `--live NAME` adds one)"
    )]
    NothingToExplain(Name),
    /// A bug in dlbc: a pass broke the graph.
    #[error("pass `{pass}` broke the graph: {}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Broken {
        /// The pass.
        pass: &'static str,
        /// What does not hold.
        faults: Vec<Fault>,
    },
}

/// What kind of error, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An option is wrong.
    Usage,
    /// The model is invalid.
    Invalid,
    /// The model is valid and not supported.
    Unsupported,
    /// A limit refused it.
    Limit,
    /// A bug in dlbc.
    Internal,
}

impl CompileError {
    /// Which kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CompileError::Proto(e) => match e.kind() {
                dlbc_proto::ErrorKind::Limit => ErrorKind::Limit,
                dlbc_proto::ErrorKind::Unsupported => ErrorKind::Unsupported,
                _ => ErrorKind::Invalid,
            },
            CompileError::Node { source: OpError::Limit(_), .. } | CompileError::TooManyNodes(_) => {
                ErrorKind::Limit
            }
            CompileError::Node { source: OpError::Unsupported(_), .. } => ErrorKind::Unsupported,
            CompileError::Unsupported(_)
            | CompileError::NothingToExplain(_)
            | CompileError::OneTrack { .. } => ErrorKind::Unsupported,
            CompileError::UnknownName { .. }
            | CompileError::UnknownRules { .. }
            | CompileError::Rules { .. } => ErrorKind::Usage,
            CompileError::Broken { .. } => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        }
    }
}

/// Names that a message lists.
const LISTED: usize = 8;

/// The first names of a list, and how many more there are.
fn names(known: &[String]) -> String {
    let shown: Vec<String> = known.iter().take(LISTED).map(|n| Name::new(n).to_string()).collect();
    match known.len().saturating_sub(LISTED) {
        0 if shown.is_empty() => "none".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn describe(items: &[Unsupported]) -> String {
    let nodes: usize = items.iter().map(|i| i.nodes.len()).sum();
    let s = |n: usize| if n == 1 { "" } else { "s" };
    let list: Vec<String> = items
        .iter()
        .map(|i| {
            let first = i.nodes.first().map_or("", String::as_str);
            format!("{} ×{} ({}), first {}", Name::new(&i.op), i.nodes.len(), i.reason, Name::new(first))
        })
        .collect();
    format!(
        "{} unsupported operator{} ({nodes} node{}): {}",
        items.len(),
        s(items.len()),
        s(nodes),
        list.join("; ")
    )
}
