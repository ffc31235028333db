//! Pixels of a segmentation: of a class, above a threshold, within a region.

/// Pixels of a segmentation `[batch, class, row, column]`, or `[batch, row, column]` of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pixels {
    /// The class; negative counts from the end. When absent the one that wins most pixels, the first (the background, as a
    /// rule) only where no other wins any; with a threshold every class.
    pub class: Option<i64>,
    /// The pixels whose value is above this, instead of those that the class wins. With one class always: 0.5 when absent.
    pub above: Option<f64>,
    /// Only the pixels within.
    pub region: Option<Region>,
    /// The classes stand on the last axis: `[batch, row, column, class]`.
    pub class_last: bool,
}

/// A rectangle, in fractions of a mask's width and height. A pixel is within when its centre is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its right edge.
    pub right: f64,
    /// Its lower edge.
    pub bottom: f64,
}
