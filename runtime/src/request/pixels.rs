//! Targets in a segmentation: the pixels of a class, above a threshold or in a region.

/// Pixels of a segmentation `[batch, class, row, column]`, or `[batch, row, column]` for a single class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pixels {
    /// Class; a negative index counts from the end. `None` chooses the class that wins most pixels, and class 0 (usually the
    /// background) only where no other class wins any; with a threshold `None` stands for every class.
    pub class: Option<i64>,
    /// Threshold: explains the pixels whose value exceeds it instead of those at which the class has the largest value. A mask
    /// with a single class always has a threshold: 0.5 when `None`.
    pub above: Option<f64>,
    /// Region to which the pixels are restricted; `None` is the whole picture.
    pub region: Option<Region>,
    /// True for an output with the classes on the last axis: `[batch, row, column, class]`.
    pub class_last: bool,
}

/// A rectangle in fractions of the mask's width and height, 0 to 1. It contains the pixels whose centre it contains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Lower edge.
    pub bottom: f64,
}
