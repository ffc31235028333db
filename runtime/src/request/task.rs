//! Tasks: meanings of a model's output.

use super::detector::{BoxSelector, BoxTarget};
use super::pixels::Pixels;
use super::target::Target;

/// Meaning of a model's output. A task refuses outputs that it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Classification with a single unit or two classes: `[batch, unit]` with one or two units.
    BinaryClassification,
    /// Classification with one unit per class: `[batch, unit]`.
    MultiClass,
    /// Regression of coordinates: `[batch, unit]`.
    BboxRegression,
    /// Segmentation with a value for each pixel: `[batch, channel, row, column]`.
    BinarySegmentation,
    /// Segmentation with a value for each pixel and class: `[batch, class, row, column]`, or `[batch, row, column]` for a
    /// single class.
    Segmentation,
    /// Detection of boxes with scores; [`Detector`](crate::Detector) names their outputs.
    Detection,
    /// Generation of text, with one unit per token: `[batch, position, unit]`.
    Generation,
}

impl Task {
    /// Returns the name of the task on the command line.
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

    /// Returns the default target of the task: all coordinates, the pixels above 0.5, the pixels of the class that wins most, the
    /// best box, or for the other tasks the largest unit.
    pub fn target(self) -> Target {
        match self {
            Task::BinaryClassification | Task::MultiClass | Task::Generation => Target::Argmax,
            Task::BboxRegression => Target::All,
            Task::BinarySegmentation => Target::Above(0.5),
            Task::Segmentation => Target::Pixels(Pixels::default()),
            Task::Detection => {
                Target::Box(BoxTarget { selector: BoxSelector::Rank(0), class: None, coordinate: None })
            }
        }
    }

    /// Describes the shapes of outputs that the task is for, in messages.
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

    /// Returns whether an output of this shape fits the task.
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
