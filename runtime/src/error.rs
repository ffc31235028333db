//! Errors of a run.

use std::path::PathBuf;

use dlbc_backend::{BackendError, ErrorKind};
use dlbc_ops::graph::Fault;
use thiserror::Error;

use crate::request::Target;

/// Failure to load a program, to understand a request, or to run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A failure of the backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file that cannot be read as a compiled model.
    #[error("`{}`: {source}", .path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: dlbc_artifact::ArtifactError,
    },
    /// A model that nobody compiled.
    #[error("`{}`: expected a compiled model, found an ONNX model", .0.display())]
    NotCompiled(PathBuf),
    /// An input that the program does not have.
    #[error("unknown input `{name}`: expected {}", names(.known))]
    UnknownInput {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An input of the wrong type or shape.
    #[error("invalid input `{input}`: expected {expected}, found {found}")]
    InputType {
        /// The input.
        input: String,
        /// What the program takes.
        expected: String,
        /// What it got.
        found: String,
    },
    /// Two inputs that disagree on a dimension.
    #[error(
        "invalid dimension {symbol} of input `{input}`: expected {expected}, as in input `{other}`, found {found}"
    )]
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
    #[error("invalid dimension of input `{input}`: expected {formula}, which is {}, found {found}", number(.expected))]
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
    #[error(
        "invalid axis {axis} of input `{input}`: expected a multiple of {factor}, such as {}, found {found}",
        near(.found, .factor)
    )]
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
    #[error("invalid value of input `{input}` at index {index:?}: expected a finite number, found {value}")]
    NotFinite {
        /// The input.
        input: String,
        /// NaN or ±inf.
        value: f32,
        /// Where.
        index: Vec<usize>,
    },
    /// A target that the output does not have.
    #[error("target {target} is out of range for output `{output}` of shape {shape:?}: {}", range(*.units))]
    Target {
        /// The target.
        target: i64,
        /// Number of units; negative targets count from the end.
        units: usize,
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A sequence position that the output does not have.
    #[error("position {position} is out of range for output `{output}` of shape {shape:?}: {}", range(*.positions))]
    Position {
        /// The position.
        position: i64,
        /// Number of positions; negative ones count from the end.
        positions: usize,
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An output that is not what the task says.
    #[error("output `{output}` does not fit task {task}: expected {expected}, found {shape:?}")]
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
        "no value above the threshold in row {row} of output `{output}` of shape {shape:?}: the largest is {greatest}"
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
    #[error("class {class} is out of range for output `{output}` of shape {shape:?}: {}", range(*.classes))]
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
        "the region holds no pixel centre of output `{output}` of shape {shape:?}: {height} rows of {width} pixels cover the \
         picture"
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
    #[error("box {number} is out of range for output `{output}` of shape {shape:?}: {}", first(*.count))]
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
    #[error("too few boxes in row {row} of output `{output}` of shape {shape:?}: expected {wanted}{found}")]
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
    #[error(
        "box {number} is of another class in output `{output}` of shape {shape:?}: expected {class}, found {label}"
    )]
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
    #[error("coordinate {0} is out of range for a box: expected 0 to 3")]
    Coordinate(usize),
    /// A box as the target, and nothing that says where boxes are.
    #[error("the request has no detector: a target box needs the names of the outputs with boxes and scores")]
    NoDetector,
    /// A box whose score or coordinates stand in another output.
    #[error("output `{explained}` does not hold the explained part of the box: expected output `{expected}`")]
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
    #[error("invalid output `{output}`: expected {expected}, found {shape:?}")]
    OutputShape {
        /// The output.
        output: String,
        /// What it should be.
        expected: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// An output that the model does not have.
    #[error("unknown output `{name}`: expected {}", names(.known))]
    UnknownOutput {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A starting relevance without a sum that could be scaled.
    #[error("the seed of row {row} of output `{output}` is 0 everywhere: it cannot be scaled to {total}")]
    Total {
        /// The explained output.
        output: String,
        /// The row.
        row: usize,
        /// The requested sum of its magnitudes.
        total: f64,
    },
    /// Two targets that are the same, or none.
    #[error("invalid targets: expected at least one, each once, found {}", targets(.0))]
    Targets(Vec<Target>),
    /// An output whose shape cannot be seeded.
    #[error(
        "invalid output for a target unit, `{output}`: expected [batch, unit] or [batch, position, unit], found {shape:?}"
    )]
    OutputRank {
        /// The explained output.
        output: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A name that the program's results do not have.
    #[error("no relevance is computed for tensor `{name}`: expected {}", names(.known))]
    UnknownRelevance {
        /// The name given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A branch that the inputs' shapes do not fit.
    #[error("node `{node}`: this run takes a branch that does not fit the shapes of the model's inputs")]
    Unfit {
        /// The node that chooses.
        node: String,
    },
    /// A value that is no dimension.
    #[error("node `{node}`: computed size {value} for dimension {symbol}: expected at least 0")]
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
        "composite `{rules}` averages several runs: the ledger and the relevance of intermediate tensors are not available"
    )]
    Repeated {
        /// The composite.
        rules: String,
    },
    /// A baseline for a composite that starts from none.
    #[error("composite `{rules}` has no baseline: expected one of integrated gradients")]
    NoBaseline {
        /// The composite.
        rules: String,
    },
    /// A baseline that does not fit its input.
    #[error("invalid baseline of input `{input}`: expected {expected}, found {found}")]
    Baseline {
        /// The input.
        input: String,
        /// A shape, or what values are allowed.
        expected: String,
        /// The shape, type or value that it has.
        found: String,
    },
    /// An input of whole numbers cannot be moved a little.
    #[error("composite `{rules}` cannot move input `{input}`: expected floats, found {ty}")]
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
            | RuntimeError::Position { .. }
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
        _ => format!("has several readings: {readings}"),
    }
}

/// The expectation of an index that may count from the end.
fn range(count: usize) -> String {
    if count == 0 { "expected one, found none".into() } else { format!("expected -{count} to {}", count - 1) }
}

/// The expectation of an index from 0 on.
fn first(count: usize) -> String {
    if count == 0 { "expected one, found none".into() } else { format!("expected 0 to {}", count - 1) }
}

fn targets(targets: &[Target]) -> String {
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn number(value: &Option<i64>) -> String {
    value.map_or_else(|| "not a number".into(), |v| v.to_string())
}

/// The multiples of a factor beside a dimension: "384 or 416".
fn near(found: &i64, factor: &i64) -> String {
    let below = found / factor * factor;
    if below > 0 { format!("{below} or {}", below + factor) } else { factor.to_string() }
}
