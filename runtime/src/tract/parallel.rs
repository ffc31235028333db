//! Work shared among the threads of the pool that a plan runs in.
//!
//! How the work is cut never depends on the number of threads, so results have the same bits with any.

use rayon::prelude::*;

/// Elements below which work is not worth handing to another thread.
const WORTH: usize = 1 << 14;

/// Calls `f(index, chunk)` for each chunk of `size` elements.
pub fn chunks(y: &mut [f32], size: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if y.len() < WORTH {
        y.chunks_mut(size.max(1)).enumerate().for_each(|(i, c)| f(i, c));
    } else {
        y.par_chunks_mut(size.max(1)).enumerate().for_each(|(i, c)| f(i, c));
    }
}

/// A block of rows: the first one's index and how many.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Which group of rows it belongs to.
    pub group: usize,
    /// The first row, within its group.
    pub first: usize,
    /// How many rows.
    pub rows: usize,
}

/// Cuts `y`, which is `groups` times `rows` rows of `width` elements, into blocks of at most `most` rows that do not cross
/// groups, and calls `f` for each.
pub fn blocks(
    y: &mut [f32],
    groups: usize,
    rows: usize,
    width: usize,
    most: usize,
    f: impl Fn(Block, &mut [f32]) + Sync,
) {
    let mut cut = vec![];
    let mut rest = y;
    for group in 0..groups {
        for first in (0..rows).step_by(most.max(1)) {
            let rows = most.max(1).min(rows - first);
            let (block, after) = rest.split_at_mut(rows * width);
            rest = after;
            cut.push((Block { group, first, rows }, block));
        }
    }
    match cut.len() {
        1 => cut.into_iter().for_each(|(b, y)| f(b, y)),
        _ => cut.into_par_iter().with_max_len(1).for_each(|(b, y)| f(b, y)),
    }
}
