//! Selected elements of the explained output, and the seed that they make.

use dlbc_ops::tensor::Tensor;

use super::group::Group;
use crate::detection::Detected;

/// A seed with the target that it belongs to.
pub(crate) struct Seed {
    /// Starting relevance: float32, of the output's shape.
    pub tensor: Tensor,
    /// Index of the largest unit of each row, at its last explained position; empty for pixels and boxes.
    pub argmax: Vec<i64>,
    /// Explained unit of each row and position (the minuend of a difference), or class of pixels or boxes; empty for a target
    /// of several units.
    pub targets: Vec<i64>,
    /// Explained box of each row; empty unless the target is a box.
    pub boxes: Vec<Detected>,
    /// Groups of competing units from which the target was selected.
    pub groups: Vec<Group>,
    /// True if each explained unit is an independent probability, so that units do not compete.
    pub independent: bool,
}

/// Elements of the output that a target selects. The last five fields are those of [`Seed`].
#[derive(Default)]
pub(super) struct Selection {
    /// Flat index and weight of each selected element, by row. The weights of a row add up to 1, or to 0 for a difference.
    pub rows: Vec<Vec<(usize, f64)>>,
    pub argmax: Vec<i64>,
    pub targets: Vec<i64>,
    pub boxes: Vec<Detected>,
    pub groups: Vec<Group>,
    pub independent: bool,
}

/// Returns the index of the largest value; ties go to the lower index.
pub(super) fn argmax(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Resolves an index below `n`, where a negative one counts from the end. Returns an index that is out of range as the error.
pub(super) fn resolve(i: i64, n: usize) -> Result<usize, i64> {
    let at = if i < 0 { i.saturating_add(n as i64) } else { i };
    usize::try_from(at).ok().filter(|at| *at < n).ok_or(i)
}
