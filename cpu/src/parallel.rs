//! Distribution of work over the threads of the pool that a plan runs in.
//!
//! The division of work does not depend on the number of threads, so results have the same bits for any number.

use std::cell::RefCell;
use std::marker::PhantomData;

use rayon::prelude::*;
use tract_onnx::tract_core::internal::{Tensor, TractResult};

/// Minimum number of elements for which work is handed to other threads.
const MIN_PARALLEL: usize = 1 << 14;

/// Calls `f(index, chunk)` for each chunk of `size` elements.
pub fn chunks<T: Send>(y: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if y.len() < MIN_PARALLEL {
        y.chunks_mut(size.max(1)).enumerate().for_each(|(i, c)| f(i, c));
    } else {
        y.par_chunks_mut(size.max(1)).enumerate().for_each(|(i, c)| f(i, c));
    }
}

/// Calls `f` with each part, in parallel. The parts must be large enough for that.
pub fn each<T: Send>(parts: Vec<T>, f: impl Fn(T) + Sync + Send) {
    parts.into_par_iter().with_max_len(1).for_each(f);
}

/// A rectangle of a matrix: rows `row..row + rows` and columns `column..column + columns` of one of its groups.
pub struct Tile<'a> {
    data: *mut f32,
    stride: usize,
    /// Index of the group of rows that the tile belongs to.
    pub group: usize,
    /// First row, within the group.
    pub row: usize,
    /// Number of rows.
    pub rows: usize,
    /// First column.
    pub column: usize,
    /// Number of columns.
    pub columns: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: a tile is a mutable borrow of elements that no other tile has.
#[allow(unsafe_code)]
unsafe impl Send for Tile<'_> {}

impl<'a> Tile<'a> {
    /// Creates a tile that covers a matrix.
    ///
    /// # Panics
    /// When the length of the slice is not `rows · columns`.
    pub fn whole(y: &'a mut [f32], rows: usize, columns: usize) -> Tile<'a> {
        assert_eq!(y.len(), rows * columns, "the matrix does not fill the slice");
        let data = y.as_mut_ptr();
        Tile { data, stride: columns, group: 0, row: 0, rows, column: 0, columns, matrix: PhantomData }
    }

    /// Returns row `i` of the tile.
    ///
    /// # Panics
    /// When `i` is out of range.
    #[allow(unsafe_code)]
    pub fn line(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows, "row {i} of {}", self.rows);
        // SAFETY: the tile was cut from a live mutable slice that holds this row (see `tiles`, `whole`); other tiles have
        // other elements, and `&mut self` keeps the rows of this one apart in time.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.stride), self.columns) }
    }

    /// Returns the address of an element of the tile and the stride between rows.
    ///
    /// # Panics
    /// When the element is out of range.
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

/// Divides `y`, of `groups` groups of `rows` rows of `columns` elements, into tiles of at most `max_tile` rows and columns that do
/// not cross groups, and calls `f` for each.
///
/// # Panics
/// When the length of `y` is not `groups · rows · columns`.
#[allow(unsafe_code)]
pub fn tiles(
    y: &mut [f32],
    [groups, rows, columns]: [usize; 3],
    max_tile: (usize, usize),
    f: impl Fn(Tile<'_>) + Sync + Send,
) {
    assert_eq!(y.len(), groups * rows * columns, "the matrix does not fill the slice");
    let small =
        y.len() < MIN_PARALLEL && groups * rows.div_ceil(max_tile.0) * columns.div_ceil(max_tile.1) == 1;
    let data = y.as_mut_ptr();
    let mut all_tiles = vec![];
    for group in 0..groups {
        for row in (0..rows).step_by(max_tile.0) {
            for column in (0..columns).step_by(max_tile.1) {
                all_tiles.push(Tile {
                    // SAFETY: within `y`, as the sizes were checked; the rectangles do not overlap.
                    data: unsafe { data.add((group * rows + row) * columns + column) },
                    stride: columns,
                    group,
                    row,
                    rows: max_tile.0.min(rows - row),
                    column,
                    columns: max_tile.1.min(columns - column),
                    matrix: PhantomData,
                });
            }
        }
    }
    if small {
        all_tiles.into_iter().for_each(&f);
    } else {
        all_tiles.into_par_iter().with_max_len(1).for_each(&f);
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(vec![]) };
}

/// Calls `f` with a buffer of this thread, whose contents are arbitrary. Calls may nest.
pub fn with_scratch<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer = vec![0.0; len];
    }
    let result = f(&mut buffer[..len]);
    SCRATCH.with_borrow_mut(|free| free.push(buffer));
    result
}

/// Creates a float32 tensor. `f` must write every element.
///
/// # Errors
/// When the allocation fails.
#[allow(unsafe_code)]
pub fn new_tensor(dims: &[usize], f: impl FnOnce(&mut [f32])) -> TractResult<Tensor> {
    // SAFETY: float32 has no invalid bits, and the callers of this module write every element before any is read.
    let mut y = unsafe { Tensor::uninitialized::<f32>(dims)? };
    f(y.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
    Ok(y)
}
