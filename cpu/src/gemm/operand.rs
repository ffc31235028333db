//! Operands of kernels other than packed panels.

/// Elements per line; sums of shifted lines are computed in units of this size.
pub const LINE: usize = 64;

/// A line of a buffer, times a factor.
#[derive(Clone, Copy, Debug)]
pub struct Shifted {
    /// Factor of the elements.
    pub factor: f32,
    /// Index of the line's first element.
    pub shift: usize,
}

/// Right operand of one kernel call.
#[derive(Clone, Copy)]
pub enum Terms<'a> {
    /// A packed panel.
    Panel(&'a [f32]),
    /// Lines, and the first term and the first column to read.
    Lines(Lines<'a>, usize, usize),
}

/// A right operand whose rows are lines of one slice, which may overlap.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    pub(super) data: &'a [f32],
    pub(super) offsets: &'a [usize],
    /// Largest offset.
    pub(super) reach: usize,
}

impl<'a> Lines<'a> {
    /// Creates an operand with one row per offset. Products read whole vectors of [`Lines::VECTOR`] elements, so the slice must contain
    /// as many beyond the last column.
    pub fn new(data: &'a [f32], offsets: &'a [usize]) -> Lines<'a> {
        Lines { data, offsets, reach: offsets.iter().copied().max().unwrap_or(0) }
    }

    /// Elements of the widest vector of any supported processor.
    pub const VECTOR: usize = 16;
}

/// A loop that is compiled for every instruction set. `run` and the functions that it calls must be inlined.
pub trait Loop {
    /// Runs the loop.
    fn run(self);
}
