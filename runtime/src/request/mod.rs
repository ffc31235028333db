//! Requests: the target of an explanation, its seed, and the results to return.

mod builder;
mod detector;
mod pixels;
mod target;
mod task;

use dlbc_backend::{CancelToken, Tensors};
use dlbc_ops::tensor::Tensor;

pub use detector::{BoxLayout, BoxSelector, BoxTarget, Detector};
pub use pixels::{Pixels, Region};
pub use target::{ParseTargetError, Target};
pub use task::Task;

/// Smallest number of other rows of a batch that serve as a background.
pub const MIN_BACKGROUND: usize = 20;

/// Starting relevance of a target unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedValue {
    /// Multiplier, with the sign of the denominator of the first rule, so that positive relevance speaks for the target: see
    /// [`SeedSign`](dlbc_ops::program::SeedSign).
    #[default]
    One,
    /// Output value of the unit; the multiplier is ignored.
    Value,
}

/// Position of the target in each row of an output `[batch, position, unit]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The same position in all rows; a negative index counts from the end.
    At(i64),
    /// Last unmasked position of each row. Falls back to the last position if the output is not `mask_len` long.
    LastUnmasked {
        /// Number of positions of the mask.
        mask_len: usize,
        /// Index of the last unmasked position of each row.
        last: Vec<usize>,
    },
    /// Every position, each with its own target unit; the seed of a row sums to the multiplier.
    All,
}

/// The target of an explanation and the results to return. The default explains the largest unit of each row and returns the
/// relevance of the inputs.
///
/// # Examples
///
/// ```
/// use dlbc_runtime::{Request, Target};
///
/// let request = Request::new().target(Target::Difference(3, 5)).keep(["logits"]).ledger();
/// assert!(request.ledger && request.keep == ["logits"]);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Units, pixels or box of the explained output; the largest unit of each row unless set.
    pub target: Target,
    /// Starting relevance of a target unit.
    pub seed_value: SeedValue,
    /// Starting relevance of each element of the explained output, of its shape: a start of the caller's own in place of the
    /// target, [`Request::seed_value`], [`Request::multiplier`] and [`Request::normalize_to`], none of which then count. In
    /// contrastive mode positive elements support and negative ones oppose. `None` unless set.
    pub seed: Option<Tensor>,
    /// Sum of the starting relevance of a row: 100 unless set.
    pub multiplier: f64,
    /// Sum to which the magnitudes of each row's starting relevance are scaled, whatever [`Request::seed_value`] is; `None` scales
    /// nothing.
    pub normalize_to: Option<f64>,
    /// Meaning of the output; `None` accepts outputs of any shape that fits the target.
    pub task: Option<Task>,
    /// Position of the target, for an output of shape `[batch, position, unit]`: the last unless set.
    pub position: Position,
    /// True for an output of shape `[position, batch, unit]`, which recurrent networks often have.
    pub positions_first: bool,
    /// Outputs and layout of the boxes, for [`Target::Box`].
    pub detector: Option<Detector>,
    /// Names of the model's outputs that the explanation holds; `None` stands for all. The explained output is among them in
    /// any case, but unless it is named, for the explained positions alone if each row has one: a language model's head is
    /// then computed for these, and its logits at other positions are not.
    pub outputs: Option<Vec<String>>,
    /// Baselines of integrated gradients, by input: of the input's shape, or of the shape of one row. Other inputs take the
    /// baseline of the composite.
    pub baseline: Option<Tensors>,
    /// Inputs by name whose rows Shapley values are taken against: the relevance of a row is the mean over them. `None` takes
    /// that of the program, or the other rows of a batch of more than [`MIN_BACKGROUND`] rows.
    pub background: Option<Tensors>,
    /// True for path-dependent Shapley values of trees, where a feature that is not known goes every way, each with the share of the
    /// rows of [`Request::background`] that went there; without one, of the rows of the training if the model file counts them.
    pub path_dependent: bool,
    /// Names of intermediate tensors whose relevance is returned beside that of the inputs.
    pub keep: Vec<String>,
    /// True to return the relevance of every tensor.
    pub keep_all: bool,
    /// True to return the ledger of the rule nodes.
    pub ledger: bool,
    /// True to return the ledger of the modules.
    pub modules: bool,
    /// True to return the relevance of each attention head.
    pub heads: bool,
    /// True to return the relevance of each expert of a mixture.
    pub experts: bool,
    /// Token that cancels the run from another thread.
    pub cancel: Option<CancelToken>,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            target: Target::Argmax,
            seed_value: SeedValue::One,
            seed: None,
            multiplier: 100.0,
            normalize_to: None,
            task: None,
            position: Position::At(-1),
            positions_first: false,
            detector: None,
            outputs: None,
            baseline: None,
            background: None,
            path_dependent: false,
            keep: vec![],
            keep_all: false,
            ledger: false,
            modules: false,
            heads: false,
            experts: false,
            cancel: None,
        }
    }
}
