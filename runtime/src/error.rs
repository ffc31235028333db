//! Errors of loading, explaining and running a program.

use std::path::PathBuf;

use dlbc_backend::{BackendError, ErrorKind};
use dlbc_ops::graph::Fault;
use thiserror::Error;

use crate::request::Target;
use wording::{first, names, near, number, range, read_as, targets};

#[cfg(test)]
mod tests;
mod wording;

/// Failure to load a program, to understand a request, or to run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The file cannot be read as a compiled model.
    #[error("`{}`: {source}", .path.display())]
    Load {
        /// File that was read.
        path: PathBuf,
        /// First fault of the file.
        source: dlbc_artifact::ArtifactError,
    },
    /// The file is an ONNX model that has not been compiled.
    #[error("`{}`: expected a compiled model, found an ONNX model", .0.display())]
    NotCompiled(PathBuf),
    /// The caller passes an input that the model does not have.
    #[error("unknown input `{name}`: expected {}", names(.known))]
    UnknownInput {
        /// Name that the caller passed.
        name: String,
        /// Names of the model's inputs.
        known: Vec<String>,
    },
    /// An input has the wrong element type or shape.
    #[error("invalid input `{input}`: expected {expected}, found {actual}")]
    InputType {
        /// Name of the input.
        input: String,
        /// Element type and shape that the program takes, such as `f32[batch,1,8,8]`.
        expected: String,
        /// Element type and shape of the caller's tensor.
        actual: String,
    },
    /// Two inputs disagree on a symbolic dimension.
    #[error(
        "invalid dimension {symbol} of input `{input}`: expected {expected}, as in input `{other}`, found {actual}"
    )]
    Dimension {
        /// Name of the input.
        input: String,
        /// Name of the dimension.
        symbol: String,
        /// Size of the dimension in `input`.
        actual: i64,
        /// Name of the earlier input that has the dimension, too.
        other: String,
        /// Size of the dimension in `other`.
        expected: i64,
    },
    /// A dimension of an input differs from its formula in other inputs' dimensions.
    #[error("invalid dimension of input `{input}`: expected {formula}, which is {}, found {actual}", number(.expected))]
    DependentDimension {
        /// Name of the input.
        input: String,
        /// Formula of the dimension, in symbols of other inputs' dimensions.
        formula: String,
        /// Size of the dimension in `input`.
        actual: i64,
        /// Value of the formula; `None` where it divides by 0 or without a whole result.
        expected: Option<i64>,
    },
    /// A dimension of an input is not a multiple of the factor by which the model divides it.
    #[error(
        "invalid axis {axis} of input `{input}`: expected a multiple of {factor}, such as {}, found {actual}",
        near(.actual, .factor)
    )]
    NotMultiple {
        /// Name of the input.
        input: String,
        /// Index of the axis.
        axis: usize,
        /// Size of the dimension.
        actual: i64,
        /// Number of which the size must be a multiple.
        factor: i64,
    },
    /// An input contains NaN or an infinity.
    #[error("invalid value of input `{input}` at index {index:?}: expected a finite number, found {value}")]
    NotFinite {
        /// Name of the input.
        input: String,
        /// First such value: NaN or ±inf.
        value: f32,
        /// Index of the value, one number per axis.
        index: Vec<usize>,
    },
    /// Shapley values without rows to take them against.
    #[error(
        "composite `{rules}` takes the rows of a background: expected one, or a batch of more than {min} rows, found {rows}"
    )]
    NoBackground {
        /// Name of the composite.
        rules: String,
        /// Smallest number of other rows that serve.
        min: usize,
        /// Number of rows of the batch.
        rows: usize,
    },
    /// A setting of Shapley values with another composite.
    #[error("composite `{rules}` takes no {setting}")]
    OnlyForTrees {
        /// Name of the composite.
        rules: String,
        /// The setting.
        setting: &'static str,
    },
    /// Path-dependent values where no row of the background reaches a branch that the explained row can reach.
    #[error(
        "composite `{rules}`: expected rows of the background at each branch that row {row} can reach, as those of the training \
         have, found a branch without rows"
    )]
    NoCover {
        /// Name of the composite.
        rules: String,
        /// Index of the explained row.
        row: usize,
    },
    /// A setting of the request that has no effect on Shapley values.
    #[error("`{rules}` explains the raw score: expected no {setting}, found one")]
    NotForTrees {
        /// Name of the composite.
        rules: String,
        /// The setting.
        setting: &'static str,
    },
    /// The target is out of range for the explained output.
    #[error("target {target} is out of range for output `{output}` of shape {shape:?}: {}", range(*.units))]
    Target {
        /// Unit or rank that is out of range.
        target: i64,
        /// Number of units of the output; negative targets count from the end.
        units: usize,
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
    },
    /// The sequence position is out of range for the explained output.
    #[error("position {position} is out of range for output `{output}` of shape {shape:?}: {}", range(*.positions))]
    Position {
        /// Position of the request.
        position: i64,
        /// Number of positions of the output; negative positions count from the end.
        positions: usize,
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
    },
    /// The explained output does not fit the task.
    #[error("output `{output}` does not fit task {task}: expected {expected}, found {shape:?}")]
    Task {
        /// Name of the task.
        task: &'static str,
        /// Shapes of outputs that the task is for.
        expected: &'static str,
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
    },
    /// No explained element of a row exceeds the threshold.
    #[error(
        "no value above the threshold in row {row} of output `{output}` of shape {shape:?}: the largest is {largest}"
    )]
    NothingAbove {
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
        /// Index of the row.
        row: usize,
        /// Largest explained value of the row.
        largest: f64,
    },
    /// The class is out of range for the output.
    #[error("class {class} is out of range for output `{output}` of shape {shape:?}: {}", range(*.classes))]
    Class {
        /// Class of the request.
        class: i64,
        /// Number of classes of the output.
        classes: usize,
        /// Name of the output.
        output: String,
        /// Shape of the output.
        shape: Vec<usize>,
    },
    /// The class has the largest value at none of the explained pixels.
    #[error(
        "class {class} wins no explained pixel in row {row} of output `{output}` of shape {shape:?}: {counts}"
    )]
    NothingWon {
        /// Class of the request, or the class that wins most pixels.
        class: usize,
        /// Index of the row.
        row: usize,
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
        /// Number of pixels that each class wins, as text.
        counts: String,
    },
    /// The region lies between the centres of pixels and contains none.
    #[error(
        "the region holds no pixel centre of output `{output}` of shape {shape:?}: {height} rows of {width} pixels cover the \
         picture"
    )]
    EmptyRegion {
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
        /// Height of the mask, in pixels.
        height: usize,
        /// Width of the mask, in pixels.
        width: usize,
    },
    /// The index of the box is out of range for the output.
    #[error("box {index} is out of range for output `{output}` of shape {shape:?}: {}", first(*.count))]
    BoxOutOfRange {
        /// Index of the requested box.
        index: usize,
        /// Number of boxes in each row.
        count: usize,
        /// Name of the output with the scores.
        output: String,
        /// Shape of the output with the scores.
        shape: Vec<usize>,
    },
    /// A row has fewer boxes than the requested rank needs.
    #[error(
        "too few boxes in row {row} of output `{output}` of shape {shape:?}: expected {requested}{actual}"
    )]
    TooFewBoxes {
        /// Number and class of the boxes that the rank needs, such as `2 boxes of class 4`.
        requested: String,
        /// Index of the row.
        row: usize,
        /// Name of the output with the scores.
        output: String,
        /// Shape of the output with the scores.
        shape: Vec<usize>,
        /// End of the message that lists the labels of the boxes; empty for a detector without labels.
        actual: String,
    },
    /// The requested box has a label other than the requested class.
    #[error(
        "box {index} is of another class in output `{output}` of shape {shape:?}: expected {class}, found {label}"
    )]
    LabelMismatch {
        /// Index of the requested box.
        index: usize,
        /// Label of the box.
        label: i64,
        /// Requested class.
        class: i64,
        /// Name of the output with the labels.
        output: String,
        /// Shape of the output with the scores.
        shape: Vec<usize>,
    },
    /// The coordinate index is out of range: a box has coordinates 0 to 3.
    #[error("coordinate {0} is out of range for a box: expected 0 to 3")]
    Coordinate(usize),
    /// The target is a box, but the request has no detector.
    #[error("the request has no detector: expected the names of the outputs with boxes and scores")]
    NoDetector,
    /// The explained output does not hold the requested score or coordinate of a box.
    #[error("output `{explained}` does not hold the explained part of the box: expected output `{expected}`")]
    OtherOutput {
        /// Name of the explained output.
        explained: String,
        /// Name of the output that holds the score or coordinate.
        expected: String,
    },
    /// The shape of an output fits several box layouts, or none.
    #[error("output `{output}` of shape {shape:?} {}", read_as(.readings))]
    Detector {
        /// Name of the output.
        output: String,
        /// Shape of the output.
        shape: Vec<usize>,
        /// Layouts that fit, as text; empty when none does.
        readings: String,
    },
    /// The shape of an output does not fit the target or the box layout.
    #[error("invalid output `{output}`: expected {expected}, found {shape:?}")]
    OutputShape {
        /// Name of the output.
        output: String,
        /// Shape that fits, with names for its axes.
        expected: String,
        /// Shape of the output.
        shape: Vec<usize>,
    },
    /// The request names an output that the model does not have.
    #[error("unknown output `{name}`: expected {}", names(.known))]
    UnknownOutput {
        /// Name in the request.
        name: String,
        /// Names of the model's outputs.
        known: Vec<String>,
    },
    /// The starting relevance that the caller sets does not fit the explained output.
    #[error("invalid starting relevance of output `{output}`: expected {expected}, found {actual}")]
    Seed {
        /// Name of the explained output.
        output: String,
        /// Property that the tensor or the request must have.
        expected: String,
        /// Property that it has.
        actual: String,
    },
    /// The seed of a row is 0 everywhere and cannot be scaled to the requested sum.
    #[error(
        "invalid seed of row {row} of output `{output}`: expected a value other than 0 to scale to {total}, found none"
    )]
    ZeroSeed {
        /// Name of the explained output.
        output: String,
        /// Index of the row.
        row: usize,
        /// Requested sum of the magnitudes.
        total: f64,
    },
    /// The program has been compiled without relevance.
    #[error(
        "the program explains nothing: expected one that has been compiled with relevance, found outputs only"
    )]
    ForwardOnly,
    /// The list of targets is empty or contains a target twice.
    #[error("invalid targets: expected at least one, each once, found {}", targets(.0))]
    Targets(Vec<Target>),
    /// The explained output has too many axes for a target that is a unit.
    #[error(
        "invalid output for a target unit, `{output}`: expected [batch, unit] or [batch, position, unit], found {shape:?}"
    )]
    OutputRank {
        /// Name of the explained output.
        output: String,
        /// Shape of the explained output.
        shape: Vec<usize>,
    },
    /// The request asks for the relevance of a tensor that has none in the program.
    #[error("no relevance is computed for tensor `{name}`: expected {}", names(.known))]
    UnknownRelevance {
        /// Name in the request.
        name: String,
        /// Names of the tensors whose relevance the program computes.
        known: Vec<String>,
    },
    /// The run takes a branch that the input shapes do not fit.
    #[error("invalid shapes of the inputs: expected those that fit the branch that node `{node}` takes")]
    UnfitBranch {
        /// Name of the node that chooses the branch.
        node: String,
    },
    /// The run computes a negative size for a data-dependent dimension.
    #[error("node `{node}` computes size {value} for dimension {symbol}: expected at least 0")]
    InvalidDimension {
        /// Name of the dimension.
        symbol: String,
        /// Name of the node that computes the size.
        node: String,
        /// Computed size.
        value: i64,
    },
    /// Data-dependent dimensions depend on one another in a cycle.
    #[error("dimensions {symbols} depend on one another")]
    Circular {
        /// Names of the dimensions, separated by commas.
        symbols: String,
    },
    /// Nodes of the program have no valid shape for these input shapes.
    #[error("the model does not run with these input shapes: {}", .0.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; "))]
    Shapes(Vec<Fault>),
    /// A primitive cannot be batched over targets; a bug in dlbc.
    #[error("cannot batch the reverse pass over several targets: {0}")]
    Batch(dlbc_ops::OpError),
    /// The composite averages several runs, which have neither a ledger nor the relevance of intermediate tensors.
    #[error(
        "composite `{rules}` averages several runs: the ledger and the relevance of intermediate tensors are not available"
    )]
    AveragedComposite {
        /// Name of the composite.
        rules: String,
    },
    /// The request has a baseline, but the composite is not integrated gradients.
    #[error("composite `{rules}` has no baseline: expected integrated gradients")]
    NoBaseline {
        /// Name of the composite.
        rules: String,
    },
    /// A baseline does not fit its input.
    #[error("invalid baseline of input `{input}`: expected {expected}, found {actual}")]
    Baseline {
        /// Name of the input.
        input: String,
        /// Shape or values that the baseline may have.
        expected: String,
        /// Shape or value that the baseline has.
        actual: String,
    },
    /// The composite perturbs its inputs, but an explained input is an integer tensor.
    #[error("composite `{rules}` cannot perturb input `{input}`: expected floats, found {ty}")]
    IntegerInput {
        /// Name of the composite.
        rules: String,
        /// Name of the input.
        input: String,
        /// Element type and shape of the input.
        ty: String,
    },
}

impl RuntimeError {
    /// Returns the kind of the error, which tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RuntimeError::Backend(error) => error.kind(),
            RuntimeError::OutputRank { .. }
            | RuntimeError::AveragedComposite { .. }
            | RuntimeError::IntegerInput { .. } => ErrorKind::Unsupported,
            RuntimeError::Batch(_) => ErrorKind::Internal,
            RuntimeError::Target { .. }
            | RuntimeError::NoBaseline { .. }
            | RuntimeError::NoBackground { .. }
            | RuntimeError::OnlyForTrees { .. }
            | RuntimeError::NoCover { .. }
            | RuntimeError::NotForTrees { .. }
            | RuntimeError::UnknownRelevance { .. }
            | RuntimeError::Position { .. }
            | RuntimeError::Task { .. }
            | RuntimeError::Targets(_)
            | RuntimeError::NothingAbove { .. }
            | RuntimeError::Class { .. }
            | RuntimeError::NothingWon { .. }
            | RuntimeError::EmptyRegion { .. }
            | RuntimeError::BoxOutOfRange { .. }
            | RuntimeError::TooFewBoxes { .. }
            | RuntimeError::LabelMismatch { .. }
            | RuntimeError::Coordinate(_)
            | RuntimeError::NoDetector
            | RuntimeError::OtherOutput { .. }
            | RuntimeError::Detector { .. }
            | RuntimeError::OutputShape { .. }
            | RuntimeError::UnknownOutput { .. }
            | RuntimeError::ForwardOnly
            | RuntimeError::ZeroSeed { .. } => ErrorKind::Usage,
            RuntimeError::Load { .. }
            | RuntimeError::NotCompiled(_)
            | RuntimeError::UnknownInput { .. }
            | RuntimeError::InputType { .. }
            | RuntimeError::Dimension { .. }
            | RuntimeError::DependentDimension { .. }
            | RuntimeError::NotMultiple { .. }
            | RuntimeError::NotFinite { .. }
            | RuntimeError::UnfitBranch { .. }
            | RuntimeError::InvalidDimension { .. }
            | RuntimeError::Circular { .. }
            | RuntimeError::Shapes(_)
            | RuntimeError::Seed { .. }
            | RuntimeError::Baseline { .. } => ErrorKind::InvalidInput,
        }
    }
}
