//! Requests: what to explain, what it starts with, what to return.

mod builder;
mod detector;
mod pixels;
mod target;
mod task;

use dlbc_backend::{CancelToken, Tensors};

pub use detector::{BoxLayout, BoxTarget, Detector, WhichBox};
pub use pixels::{Pixels, Region};
pub use target::{ParseTargetError, Target};
pub use task::Task;

/// Starting relevance of a target unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The multiplier, with the sign of the value that the first rule divides by, so that positive relevance speaks for the
    /// target: see [`SeedSign`](dlbc_ops::program::SeedSign).
    #[default]
    One,
    /// Its own output value; the multiplier is ignored.
    Value,
}

/// Position of the target in each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The same for all rows; negative counts from the end.
    At(i64),
    /// The last unmasked position of each row; of an output whose length is not the mask's, the last position.
    LastUnmasked {
        /// Positions of the mask.
        mask_len: usize,
        /// Last unmasked position of each row.
        last: Vec<usize>,
    },
    /// Every position, each with a target of its own; together they start with the multiplier.
    All,
}

/// Choice of what is explained and what is returned. The default explains the largest unit of each row and returns the relevance of the
/// inputs.
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
    /// Units, pixels or box of the explained output.
    pub target: Target,
    /// Starting relevance of a target unit.
    pub start: Start,
    /// Starting relevance of a row: 100 unless set.
    pub multiplier: f64,
    /// Sum to which the magnitudes of each row's starting relevance are scaled, whatever the units start with; `None`
    /// scales nothing.
    pub normalize_to: Option<f64>,
    /// Meaning of the output; an output that it does not fit is refused.
    pub task: Option<Task>,
    /// Position of the target, for an output of shape [batch, position, unit]: the last unless set.
    pub position: Position,
    /// The output is [position, batch, unit], as recurrent networks often have it.
    pub positions_first: bool,
    /// Reading of the outputs as boxes, for [`Target::Box`].
    pub detector: Option<Detector>,
    /// Baselines of integrated gradients, by input: of the input's shape, or of one of its rows. Inputs that it does
    /// not name start from the composite's baseline.
    pub baseline: Option<Tensors>,
    /// Tensors, beside the inputs, whose relevance is returned.
    pub keep: Vec<String>,
    /// Return the relevance of every tensor.
    pub keep_all: bool,
    /// Return the ledger.
    pub ledger: bool,
    /// Return the ledger by module.
    pub modules: bool,
    /// Return the relevance of each head of the attentions.
    pub heads: bool,
    /// Return the relevance that each expert received.
    pub experts: bool,
    /// Token that cancels the run.
    pub cancel: Option<CancelToken>,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            target: Target::Argmax,
            start: Start::One,
            multiplier: 100.0,
            normalize_to: None,
            task: None,
            position: Position::At(-1),
            positions_first: false,
            detector: None,
            baseline: None,
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
