//! Work shared among the threads of the pool that a plan runs in.
//!
//! How the work is cut never depends on the number of threads, so results have the same bits with any.

use std::cell::RefCell;
use std::marker::PhantomData;

use rayon::prelude::*;
use tract_onnx::tract_core::internal::{Tensor, TractResult};

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

/// Calls `f` with each part of some work that is worth the threads.
pub fn each<T: Send>(parts: Vec<T>, f: impl Fn(T) + Sync + Send) {
    parts.into_par_iter().with_max_len(1).for_each(f);
}

/// A rectangle of a matrix: rows `row..row + rows` and columns `column..column + columns` of one of its groups.
pub struct Tile<'a> {
    data: *mut f32,
    stride: usize,
    /// The group of rows it belongs to.
    pub group: usize,
    /// The first row, within the group.
    pub row: usize,
    /// How many rows.
    pub rows: usize,
    /// The first column.
    pub column: usize,
    /// How many columns.
    pub columns: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: a tile is a mutable borrow of elements that no other tile has.
#[allow(unsafe_code)]
unsafe impl Send for Tile<'_> {}

impl<'a> Tile<'a> {
    /// All of a matrix.
    ///
    /// # Panics
    /// When the slice is not as long as the sizes say.
    pub fn whole(y: &'a mut [f32], rows: usize, columns: usize) -> Tile<'a> {
        assert_eq!(y.len(), rows * columns, "the matrix does not fill the slice");
        let data = y.as_mut_ptr();
        Tile { data, stride: columns, group: 0, row: 0, rows, column: 0, columns, matrix: PhantomData }
    }

    /// A row of the tile.
    ///
    /// # Panics
    /// When there is no such row.
    #[allow(unsafe_code)]
    pub fn line(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the tile was cut from a live mutable slice that holds this row (see `tiles`, `whole`); other tiles have
        // other elements, and `&mut self` keeps the rows of this one apart in time.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.columns) }
    }

    /// Where an element of the tile lies, and the distance of rows.
    ///
    /// # Panics
    /// When there is no such element.
    #[allow(unsafe_code)]
    pub(super) fn raw(&mut self, row: usize, column: usize) -> (*mut f32, usize) {
        assert!(
            row < self.rows && column < self.columns,
            "element {row}, {column} of {} by {}",
            self.rows,
            self.columns
        );
        // SAFETY: the tile has this element.
        (unsafe { self.data.add(row * self.stride + column) }, self.stride)
    }
}

/// Cuts `y`, which is `groups` times `rows` rows of `columns` elements, into tiles of at most `most` rows and columns that do
/// not cross groups, and calls `f` for each.
///
/// # Panics
/// When `y` is not as long as the sizes say.
#[allow(unsafe_code)]
pub fn tiles(
    y: &mut [f32],
    [groups, rows, columns]: [usize; 3],
    most: (usize, usize),
    f: impl Fn(Tile<'_>) + Sync + Send,
) {
    assert_eq!(y.len(), groups * rows * columns, "the matrix does not fill the slice");
    let small = y.len() < WORTH && groups * rows.div_ceil(most.0) * columns.div_ceil(most.1) == 1;
    let data = y.as_mut_ptr();
    let mut cut = vec![];
    for group in 0..groups {
        for row in (0..rows).step_by(most.0) {
            for column in (0..columns).step_by(most.1) {
                cut.push(Tile {
                    // SAFETY: within `y`, as the sizes were checked; the rectangles do not overlap.
                    data: unsafe { data.add((group * rows + row) * columns + column) },
                    stride: columns,
                    group,
                    row,
                    rows: most.0.min(rows - row),
                    column,
                    columns: most.1.min(columns - column),
                    matrix: PhantomData,
                });
            }
        }
    }
    if small {
        cut.into_iter().for_each(&f);
    } else {
        cut.into_par_iter().with_max_len(1).for_each(&f);
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(vec![]) };
}

/// Lends `f` a buffer of this thread, with whatever was left in it. Calls may nest.
pub fn with_scratch<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer = vec![0.0; len];
    }
    let made = f(&mut buffer[..len]);
    SCRATCH.with_borrow_mut(|free| free.push(buffer));
    made
}

/// A float32 tensor whose every element `f` writes.
///
/// # Errors
/// When there is no memory for it.
#[allow(unsafe_code)]
pub fn made(dims: &[usize], f: impl FnOnce(&mut [f32])) -> TractResult<Tensor> {
    // SAFETY: float32 has no invalid bits, and the callers of this module write every element before any is read.
    let mut y = unsafe { Tensor::uninitialized::<f32>(dims)? };
    f(y.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
    Ok(y)
}
