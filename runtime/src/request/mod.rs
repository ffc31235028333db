//! Requests: what to explain, what it starts with, what to return.

mod detector;
mod pixels;
mod target;
mod task;

use dlbc_backend::Tensors;

pub use detector::{BoxLayout, BoxTarget, Detector, WhichBox};
pub use pixels::{Pixels, Region};
pub use target::Target;
pub use task::Task;

/// What a target unit starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The multiplier, with the sign of the value that the first rule divides by, so that positive relevance speaks for the
    /// target: see [`StartSign`](dlbc_ops::program::StartSign).
    #[default]
    One,
    /// Its own output value; the multiplier is ignored.
    Value,
}

/// Which position of each row the target stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// The same for all rows; negative counts from the end.
    At(i64),
    /// The last that a mask of `length` positions shows of each row; of an output of another length the last.
    Shown {
        /// Positions of the mask.
        length: usize,
        /// Of each row.
        last: Vec<usize>,
    },
    /// Every position, each with a target of its own; together they start with the multiplier.
    All,
}

/// What to explain and what to return.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which units.
    pub target: Target,
    /// What they start with.
    pub start: Start,
    /// Starting relevance of a row.
    pub multiplier: f64,
    /// Sum to which the magnitudes of each row's starting relevance are scaled, whatever the units start with; `None`
    /// scales nothing.
    pub total: Option<f64>,
    /// What the output means: refuses one that it does not fit.
    pub task: Option<Task>,
    /// Position of the target, for an output of shape [batch, position, unit].
    pub position: Position,
    /// The output is [position, batch, unit], as recurrent networks often have it.
    pub positions_first: bool,
    /// How boxes are read from the outputs, for [`Target::Box`].
    pub detector: Option<Detector>,
    /// Baselines of integrated gradients, by input: of the input's shape, or of one of its rows. Inputs that it does
    /// not name start from the composite's baseline.
    pub baseline: Option<Tensors>,
    /// Tensors, beside the inputs, whose relevance is returned.
    pub keep: Vec<String>,
    /// Return the relevance of every tensor.
    pub keep_all: bool,
    /// Return the ledger.
    pub audit: bool,
    /// Return the ledger by module.
    pub layers: bool,
    /// Return the relevance of each head of the attentions.
    pub heads: bool,
    /// Return what each expert was given.
    pub experts: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request {
            target: Target::Argmax,
            start: Start::One,
            multiplier: 100.0,
            total: None,
            task: None,
            position: Position::At(-1),
            positions_first: false,
            detector: None,
            baseline: None,
            keep: vec![],
            keep_all: false,
            audit: false,
            layers: false,
            heads: false,
            experts: false,
        }
    }
}
