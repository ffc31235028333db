//! Groups of competing units.

/// Units that compete with one another, such as the classes of a pixel, as flat indices `first + i * stride` into the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Flat index of the first unit.
    pub first: usize,
    /// Distance between the flat indices of neighbours.
    pub stride: usize,
    /// Number of units.
    pub count: usize,
}

impl Group {
    /// Iterates over the flat indices of the units.
    pub fn elements(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |i| self.first + i * self.stride)
    }
}
