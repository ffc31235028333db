//! Tasks: what a model's output means.

use super::detector::{BoxTarget, WhichBox};
use super::pixels::Pixels;
use super::target::Target;

/// Meaning of a model's output. A task refuses outputs that it does not fit.
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
    /// Boxes with scores: [`Detector`](crate::Detector) says in which outputs.
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

    /// Returns the target that it explains unless another is chosen: all coordinates, the pixels above 0.5, the pixels of the
    /// class that wins most, the best box, else the largest unit.
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
    pub(crate) fn expects(self) -> &'static str {
        match self {
            Task::BinaryClassification => "[batch, unit] with one or two units",
            Task::MultiClass | Task::BboxRegression => "[batch, unit]",
            Task::BinarySegmentation => "[batch, channel, row, column]",
            Task::Segmentation => "[batch, class, row, column] or [batch, row, column]",
            Task::Detection => "with boxes",
            Task::Generation => "[batch, position, unit]",
        }
    }

    pub(crate) fn fits(self, dims: &[usize]) -> bool {
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
