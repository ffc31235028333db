//! The elements of the explained output that start.

use dlbc_ops::tensor::Tensor;

use crate::detection::Detected;

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
pub(super) struct Chosen {
    /// Of each row; weights add up to 1, or to 0 for a difference.
    pub rows: Vec<Vec<(usize, f64)>>,
    pub argmax: Vec<i64>,
    pub targets: Vec<i64>,
    pub boxes: Vec<Detected>,
    pub groups: Vec<Group>,
    pub region: bool,
}

/// The place of the greatest, the first of equal ones.
pub(super) fn greatest(own: &[f64]) -> usize {
    (0..own.len()).fold(0, |best, i| if own[i] > own[best] { i } else { best })
}

pub(super) fn resolve(i: i64, n: usize) -> Result<usize, i64> {
    let at = if i < 0 { i.saturating_add(n as i64) } else { i };
    usize::try_from(at).ok().filter(|at| *at < n).ok_or(i)
}
