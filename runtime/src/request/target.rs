//! What is explained: units, pixels or a box of the explained output.

use super::detector::BoxTarget;
use super::pixels::Pixels;

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
