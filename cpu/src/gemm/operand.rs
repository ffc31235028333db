//! What kernels read besides panels.

/// Elements of a line: sums of shifted lines are made so many at a time.
pub const LINE: usize = 64;

/// A line of a buffer that begins at `shift`, times a factor.
#[derive(Clone, Copy, Debug)]
pub struct Shifted {
    /// What its elements are multiplied by.
    pub factor: f32,
    /// Where it begins.
    pub shift: usize,
}

/// The terms of a right operand that one kernel reads.
#[derive(Clone, Copy)]
pub enum Terms<'a> {
    /// A panel.
    Panel(&'a [f32]),
    /// Lines: from a term on, from a column on.
    Lines(Lines<'a>, usize, usize),
}

/// A right operand whose rows are lines of one slice, wherever they begin; they may overlap.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    pub(super) data: &'a [f32],
    pub(super) offsets: &'a [usize],
    /// The greatest offset.
    pub(super) reach: usize,
}

impl<'a> Lines<'a> {
    /// A row for each offset. Products read whole vectors of [`Lines::VECTOR`]: so many more than their columns must be there.
    pub fn new(data: &'a [f32], offsets: &'a [usize]) -> Lines<'a> {
        Lines { data, offsets, reach: offsets.iter().copied().max().unwrap_or(0) }
    }

    /// Elements of a vector, on every processor or a multiple.
    pub const VECTOR: usize = 16;
}

/// A loop that is compiled for every set of instructions; `run` and what it calls must be inlined.
pub trait Loop {
    /// Runs it.
    fn run(self);
}
