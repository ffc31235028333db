//! Errors of a run.

use std::path::PathBuf;

use dlbc_backend::{BackendError, ErrorKind};
use dlbc_ops::graph::Fault;
use thiserror::Error;

/// Failure to load a program, to understand a request, or to run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A failure of the backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file that cannot be read as a compiled model.
    #[error("{}: {source}", .path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: dlbc_artifact::ArtifactError,
    },
    /// A model that nobody compiled.
    #[error("{}: not a compiled model: `dlbc compile` makes one of it", .0.display())]
    NotCompiled(PathBuf),
    /// An input that the program does not have.
    #[error("the model has no input `{name}`: it has {}", names(.known))]
    UnknownInput {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An input of the wrong type or shape.
    #[error("input `{input}`: {expected} expected, found {found}")]
    InputType {
        /// The input.
        input: String,
        /// What the program takes.
        expected: String,
        /// What it got.
        found: String,
    },
    /// Two inputs that disagree on a dimension.
    #[error("input `{input}`: dimension {symbol} is {found}, but `{other}` makes it {expected}")]
    Dimension {
        /// The input.
        input: String,
        /// The symbol.
        symbol: String,
        /// Its value here.
        found: i64,
        /// The input that bound it.
        other: String,
        /// Its value there.
        expected: i64,
    },
    /// An input whose dimension is not what the other inputs make it.
    #[error("input `{input}`: a dimension is {found}, but {formula} is {} with the other inputs", number(.expected))]
    Formula {
        /// The input.
        input: String,
        /// The dimension in terms of other inputs' dimensions.
        formula: String,
        /// Its value here.
        found: i64,
        /// Its value by the formula, when there is one.
        expected: Option<i64>,
    },
    /// A dimension that the model divides.
    #[error("input `{input}`: axis {axis} has {found}: expected a multiple of {factor}, such as {}", near(.found, .factor))]
    Multiple {
        /// The input.
        input: String,
        /// The axis.
        axis: usize,
        /// Its dimension.
        found: i64,
        /// What it must be a multiple of.
        factor: i64,
    },
    /// A NaN or an infinity in an input.
    #[error("input `{input}`: {value} at index {index:?}")]
    NotFinite {
        /// The input.
        input: String,
        /// NaN or ±inf.
        value: f32,
        /// Where.
        index: Vec<usize>,
    },
    /// A target that the output does not have.
    #[error("target {target} is out of range for output `{output}` of shape {shape:?}")]
    Target {
        /// The target.
        target: i64,
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An output that is not what the task says.
    #[error("task {task} is for outputs {expected}: output `{output}` is {shape:?}")]
    Task {
        /// The task.
        task: &'static str,
        /// The outputs that it is for.
        expected: &'static str,
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A row with nothing above the threshold.
    #[error(
        "nothing in row {row} of output `{output}` of shape {shape:?} is above the threshold: the greatest value is {greatest}"
    )]
    NothingAbove {
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The row.
        row: usize,
        /// Its greatest value.
        greatest: f64,
    },
    /// A class that the output does not have.
    #[error("class {class} is out of range: output `{output}` of shape {shape:?} has {classes} classes")]
    Class {
        /// The class.
        class: i64,
        /// How many there are.
        classes: usize,
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A class that is the greatest of no pixel.
    #[error(
        "class {class} wins no explained pixel in row {row} of output `{output}` of shape {shape:?}: {counts}"
    )]
    NothingWon {
        /// The class.
        class: usize,
        /// The row.
        row: usize,
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many pixels each class wins.
        counts: String,
    },
    /// A region between the centres of pixels.
    #[error(
        "the region holds the centre of no pixel of output `{output}` of shape {shape:?}: {height} rows of {width} pixels cover \
         the picture"
    )]
    EmptyRegion {
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Rows of pixels.
        height: usize,
        /// Pixels of a row.
        width: usize,
    },
    /// A box that the output does not have.
    #[error("box {number} is out of range: output `{output}` of shape {shape:?} has {count} boxes")]
    NoSuchBox {
        /// The box.
        number: usize,
        /// How many there are.
        count: usize,
        /// The output with the scores.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Fewer boxes than asked for.
    #[error("row {row} of output `{output}` of shape {shape:?} has fewer than {wanted}{found}")]
    NoBox {
        /// What was asked for.
        wanted: String,
        /// The row.
        row: usize,
        /// The output with the scores.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The classes that there are.
        found: String,
    },
    /// A box of another class.
    #[error("box {number} has label {label} in output `{output}` of shape {shape:?}, not {class}")]
    Label {
        /// The box.
        number: usize,
        /// Its label.
        label: i64,
        /// The class asked for.
        class: i64,
        /// The output with the labels.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A box has four coordinates.
    #[error("coordinate {0} is out of range: a box has 4")]
    Coordinate(usize),
    /// A box as the target, and nothing that says where boxes are.
    #[error("a box is explained: the request needs a detector, which says in which outputs boxes stand")]
    NoDetector,
    /// A box whose score or coordinates stand in another output.
    #[error(
        "what is explained of the box stands in output `{expected}`, but output `{explained}` is explained"
    )]
    OtherOutput {
        /// The explained output.
        explained: String,
        /// Where it stands.
        expected: String,
    },
    /// An output that may be boxes in more than one way, or in none.
    #[error("output `{output}` of shape {shape:?} {}", read_as(.readings))]
    Detector {
        /// The output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How it may be read.
        readings: String,
    },
    /// An output of another shape than its reading says.
    #[error("output `{output}` of shape {shape:?}: {expected} expected")]
    OutputShape {
        /// The output.
        output: String,
        /// What it should be.
        expected: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An output that the model does not have.
    #[error("the model has no output `{name}`: it has {}", names(.known))]
    UnknownOutput {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A starting relevance without a sum that could be scaled.
    #[error(
        "the starting relevance of row {row} of output `{output}` is 0 everywhere: it cannot be scaled to {total}"
    )]
    Total {
        /// The explained output.
        output: String,
        /// The row.
        row: usize,
        /// The requested sum of its magnitudes.
        total: f64,
    },
    /// Two targets that are the same, or none.
    #[error("at least one target expected, each once: found {0:?}")]
    Targets(Vec<crate::request::Target>),
    /// An output whose shape cannot be seeded.
    #[error("output `{output}` of shape {shape:?} has no unit on a last axis")]
    OutputRank {
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A name that the program's results do not have.
    #[error("no relevance is computed for `{name}`, but for {}", names(.known))]
    UnknownRelevance {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A branch that the inputs' shapes do not fit.
    #[error("node `{node}`: this run takes a branch that the shapes of the model's inputs do not fit")]
    Unfit {
        /// The node that chooses.
        node: String,
    },
    /// A value that is no dimension.
    #[error("node `{node}`: {value} is no number of elements ({symbol})")]
    Measured {
        /// The dimension.
        symbol: String,
        /// The node that computes it.
        node: String,
        /// What it computed.
        value: i64,
    },
    /// Dimensions that wait for one another.
    #[error("dimensions {symbols} depend on one another")]
    Circular {
        /// Their symbols.
        symbols: String,
    },
    /// The shapes do not work out for these inputs.
    #[error("the model does not run with these input shapes: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Shapes(Vec<Fault>),
    /// A bug in dlbc: a primitive without room for several targets.
    #[error("the reverse of several targets: {0}")]
    Batch(dlbc_ops::OpError),
    /// A mean over runs has neither a ledger nor the relevance of intermediate tensors.
    #[error(
        "composite `{rules}` is a mean over several runs: it has no ledger and no relevance of intermediate tensors"
    )]
    Repeated {
        /// The composite.
        rules: String,
    },
    /// A baseline for a composite that starts from none.
    #[error("composite `{rules}` has no baseline: integrated gradients have one")]
    NoBaseline {
        /// The composite.
        rules: String,
    },
    /// A baseline that does not fit its input.
    #[error("baseline of input `{input}`: expected {expected}, found {found}")]
    Baseline {
        /// The input.
        input: String,
        /// A shape, or what values are allowed.
        expected: String,
        /// The shape, type or value that it has.
        found: String,
    },
    /// An input of whole numbers cannot be moved a little.
    #[error(
        "composite `{rules}` moves its inputs, which `{input}` {ty} does not allow: stop at what is looked up by it"
    )]
    Whole {
        /// The composite.
        rules: String,
        /// The input.
        input: String,
        /// Its type.
        ty: String,
    },
}

impl RuntimeError {
    /// Kind of this error: who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RuntimeError::Backend(error) => error.kind(),
            RuntimeError::OutputRank { .. } | RuntimeError::Repeated { .. } | RuntimeError::Whole { .. } => {
                ErrorKind::Unsupported
            }
            RuntimeError::Batch(_) => ErrorKind::Internal,
            RuntimeError::Target { .. }
            | RuntimeError::NoBaseline { .. }
            | RuntimeError::UnknownRelevance { .. }
            | RuntimeError::Task { .. }
            | RuntimeError::Targets(_)
            | RuntimeError::NothingAbove { .. }
            | RuntimeError::Class { .. }
            | RuntimeError::NothingWon { .. }
            | RuntimeError::EmptyRegion { .. }
            | RuntimeError::NoSuchBox { .. }
            | RuntimeError::NoBox { .. }
            | RuntimeError::Label { .. }
            | RuntimeError::Coordinate(_)
            | RuntimeError::NoDetector
            | RuntimeError::OtherOutput { .. }
            | RuntimeError::Detector { .. }
            | RuntimeError::OutputShape { .. }
            | RuntimeError::UnknownOutput { .. }
            | RuntimeError::Total { .. } => ErrorKind::Usage,
            RuntimeError::Load { .. }
            | RuntimeError::NotCompiled(_)
            | RuntimeError::UnknownInput { .. }
            | RuntimeError::InputType { .. }
            | RuntimeError::Dimension { .. }
            | RuntimeError::Formula { .. }
            | RuntimeError::Multiple { .. }
            | RuntimeError::NotFinite { .. }
            | RuntimeError::Unfit { .. }
            | RuntimeError::Measured { .. }
            | RuntimeError::Circular { .. }
            | RuntimeError::Shapes(_)
            | RuntimeError::Baseline { .. } => ErrorKind::InvalidInput,
        }
    }
}

/// Names that a message lists.
const LISTED: usize = 8;

/// The first names of a list, and how many more there are.
fn names(known: &[String]) -> String {
    let shown: Vec<String> = known.iter().take(LISTED).map(|n| format!("`{n}`")).collect();
    match known.len().saturating_sub(LISTED) {
        0 if shown.is_empty() => "none".into(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn read_as(readings: &str) -> String {
    match readings {
        "" => "is not read as boxes".into(),
        _ => format!("may be {readings}"),
    }
}

fn number(value: &Option<i64>) -> String {
    value.map_or_else(|| "not a number".into(), |v| v.to_string())
}

/// The multiples of a factor beside a dimension: "384 or 416".
fn near(found: &i64, factor: &i64) -> String {
    let below = found / factor * factor;
    if below > 0 { format!("{below} or {}", below + factor) } else { factor.to_string() }
}
