//! Greedy suppression of overlapping boxes.

use serde::{Deserialize, Serialize};

/// `(boxes [n, s, 4], scores [n, c, s], most, overlap, least)`, the last three of one element: the boxes of each class
/// that greedy non-maximum suppression keeps, as `(batch, class, box)` by falling score; `[n·c·s, 3]`, then rows of -1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonMaxSuppression {
    /// Boxes are `(x, y, width, height)` of their centre; else two opposite corners `(y, x, y, x)`.
    pub center: bool,
}
