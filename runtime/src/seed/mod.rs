//! The starting relevance.

mod boxes;
pub(crate) mod contrast;
mod convention;
mod pixels;
mod units;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dlbc_ops::tensor::Tensor;

use crate::backend::Tensors;
use crate::detection::{BoxTarget, Detected, Detector, WhichBox};
use crate::error::RuntimeError;

pub(crate) use convention::Convention;
pub use pixels::{Pixels, Region};

/// Which output units get the starting relevance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Target {
    /// The greatest of each row.
    #[default]
    Argmax,
    /// The unit that so many of its row are greater than: 0 is the greatest. Of equal units the first comes first.
    Rank(usize),
    /// The unit of this index on the last axis; negative counts from the end.
    Index(i64),
    /// The first unit, minus the second.
    Difference(i64, i64),
    /// Every unit; together they start with the multiplier.
    All,
    /// Every element of a row above the threshold, at any position; together they start with the multiplier.
    Above(f64),
    /// Pixels of a segmentation; together they start with the multiplier.
    Pixels(Pixels),
    /// A box of a detection, as [`Request::detector`] reads them.
    Box(BoxTarget),
}

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

/// What a model's output means. A task refuses outputs that it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One unit, or one of two classes: `[batch, unit]`.
    BinaryClassification,
    /// One unit a class: `[batch, unit]`.
    MultiClass,
    /// Coordinates: `[batch, unit]`.
    BboxRegression,
    /// A value for each pixel: `[batch, channel, row, column]`.
    BinarySegmentation,
    /// A value for each pixel and class: `[batch, class, row, column]`, or with one class `[batch, row, column]`.
    Segmentation,
    /// Boxes with scores: [`Detector`] says in which outputs.
    Detection,
    /// One unit a token: `[batch, position, unit]`.
    Generation,
}

impl Task {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Task::BinaryClassification => "binary-classification",
            Task::MultiClass => "multi-class",
            Task::BboxRegression => "bbox-regression",
            Task::BinarySegmentation => "binary-segmentation",
            Task::Segmentation => "segmentation",
            Task::Detection => "detection",
            Task::Generation => "generation",
        }
    }

    /// What it starts from unless told otherwise: all coordinates, the pixels above 0.5, the pixels of the class that wins
    /// most, the best box, else the greatest unit.
    pub fn target(self) -> Target {
        match self {
            Task::BinaryClassification | Task::MultiClass | Task::Generation => Target::Argmax,
            Task::BboxRegression => Target::All,
            Task::BinarySegmentation => Target::Above(0.5),
            Task::Segmentation => Target::Pixels(Pixels::default()),
            Task::Detection => {
                Target::Box(BoxTarget { which: WhichBox::Rank(0), class: None, coordinate: None })
            }
        }
    }

    /// The outputs that it fits.
    fn expects(self) -> &'static str {
        match self {
            Task::BinaryClassification => "[batch, unit] with one or two units",
            Task::MultiClass | Task::BboxRegression => "[batch, unit]",
            Task::BinarySegmentation => "[batch, channel, row, column]",
            Task::Segmentation => "[batch, class, row, column] or [batch, row, column]",
            Task::Detection => "with boxes",
            Task::Generation => "[batch, position, unit]",
        }
    }

    fn fits(self, dims: &[usize]) -> bool {
        match self {
            Task::BinaryClassification => matches!(dims, [_, 1 | 2]),
            Task::MultiClass | Task::BboxRegression => dims.len() == 2,
            Task::BinarySegmentation => dims.len() == 4,
            Task::Segmentation => matches!(dims.len(), 3 | 4),
            Task::Detection => true,
            Task::Generation => dims.len() == 3,
        }
    }
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

/// A seed and what it was made from.
pub(crate) struct Seed {
    /// The starting relevance, of the output's shape, float32.
    pub tensor: Tensor,
    /// The greatest unit of each row, at its last position that is explained; none of an output with more axes.
    pub argmax: Vec<i64>,
    /// The unit that each row and position explains (the first, for a difference), or class of pixels; none for several at
    /// once.
    pub targets: Vec<i64>,
    /// The box that each row explains.
    pub boxes: Vec<Detected>,
    /// The units among which each target was chosen.
    pub groups: Vec<Group>,
    /// Whether each explained unit is a probability of its own, and none a rival of another.
    pub region: bool,
}

/// Units that compete with one another, as the classes of a pixel do: where they stand in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The first.
    pub first: usize,
    /// The distance between two.
    pub stride: usize,
    /// How many.
    pub count: usize,
}

impl Group {
    /// Where its units stand.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.first + i * self.stride)
    }
}

/// What starts: elements of the output with their weights.
#[derive(Default)]
struct Chosen {
    /// Of each row; weights add up to 1, or to 0 for a difference.
    rows: Vec<Vec<(usize, f64)>>,
    argmax: Vec<i64>,
    targets: Vec<i64>,
    boxes: Vec<Detected>,
    groups: Vec<Group>,
    region: bool,
}

/// Makes the seed of the output `name`: `[batch, position, unit]` or with positions first, `[batch, unit]`, `[unit]` or a single value; for all units
/// and for those above a threshold, any rows; for pixels and boxes as [`Pixels`] and [`Detector`] say.
pub(crate) fn seed(
    name: &str,
    outputs: &Tensors,
    request: &Request,
    convention: &Convention,
) -> Result<Seed, RuntimeError> {
    let output = outputs.get(name).ok_or_else(|| RuntimeError::MissingInput(name.into()))?;
    let dims = output.dims();
    if let Some(task) = request.task.filter(|task| !task.fits(dims)) {
        let (task, expected) = (task.name(), task.expects());
        return Err(RuntimeError::Task { task, expected, output: name.into(), shape: dims.to_vec() });
    }
    let values = output.to_f64();
    let chosen = match request.target {
        Target::Pixels(pixels) => pixels::choose(name, dims, &values, &pixels)?,
        Target::Box(target) => boxes::choose(name, outputs, &target, request)?,
        _ => units::choose(name, dims, &values, request)?,
    };
    let mut seed = vec![0.0f64; values.len()];
    let difference = matches!(request.target, Target::Difference(..));
    for (row, units) in chosen.rows.iter().enumerate() {
        let weights = match request.start {
            Start::Value => units.iter().map(|(at, weight)| values[*at] * weight.signum()).collect(),
            Start::One => convention.weights(units, &values, difference),
        };
        let factor = if request.start == Start::One { request.multiplier } else { 1.0 };
        for ((at, _), weight) in units.iter().zip(weights) {
            seed[*at] += factor * weight;
        }
        if let Some(total) = request.total {
            let places: BTreeSet<usize> = units.iter().map(|(at, _)| *at).collect();
            let size: f64 = places.iter().map(|at| seed[*at].abs()).sum();
            if size.is_nan() || size == 0.0 {
                return Err(RuntimeError::Total { output: name.into(), row, total });
            }
            places.iter().for_each(|at| seed[*at] *= total / size);
        }
    }
    let rounded: Vec<f32> = seed.iter().map(|v| *v as f32).collect();
    let tensor = Tensor::from_f32(dims, &rounded);
    let Chosen { argmax, targets, boxes, groups, region, .. } = chosen;
    Ok(Seed { tensor, argmax, targets, boxes, groups, region })
}

/// The place of the greatest, the first of equal ones.
fn greatest(own: &[f64]) -> usize {
    (0..own.len()).fold(0, |best, i| if own[i] > own[best] { i } else { best })
}

fn resolve(i: i64, n: usize) -> Result<usize, i64> {
    let at = if i < 0 { i.saturating_add(n as i64) } else { i };
    usize::try_from(at).ok().filter(|at| *at < n).ok_or(i)
}
