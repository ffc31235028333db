//! Matrix products of float32.
//!
//! `c = a · b` is computed by blocks of terms that stay in the caches. A block of `a` is packed to panels of a few rows, a block of
//! `b` to panels of a few vectors, and a kernel multiplies panels [goto2008]. Operands may have any strides, so a weight needs no
//! separate copy for the adjoint.

mod kernel;
mod matrix;
mod operand;
mod pack;
#[cfg(test)]
mod tests;

pub use kernel::widest;
use kernel::{Isa, ROWS, VECTORS, WIDEST};
pub use matrix::{CompactMatrix, Matrix};
use operand::Terms;
pub use operand::{LINE, Lines, Loop, Shifted};
pub use pack::copy;

use super::parallel::{Tile, chunks, each, with_scratch};

/// Terms per block, such that a panel of `b` stays in the L1 cache.
const TERMS: usize = 256;

/// Rows per block, such that a block of `a` stays in the L2 cache.
const BLOCK: usize = 512;

/// Columns per block, such that a packed block of `b` stays in the L2 cache.
const COLUMNS: usize = 4 * WIDEST;

/// Computes `c = a · b` for `a [m, k]`, `b [k, n]` and a tile `c [m, n]`, in one thread. The order of sums depends on `k` alone, so
/// equal rows and columns give equal bits at any position.
///
/// # Panics
/// When an operand is larger than its slice, or a packed one does not begin and end at panels.
pub fn gemm<'a, 'b>(k: usize, c: &mut Tile<'_>, a: impl Into<Left<'a>>, b: impl Into<Right<'b>>) {
    product(Isa::best(), k, c, a.into(), b.into(), false);
}

/// Computes `c += a · b`, otherwise like [`gemm`].
///
/// # Panics
/// Like [`gemm`].
pub fn gemm_add<'a, 'b>(k: usize, c: &mut Tile<'_>, a: impl Into<Left<'a>>, b: impl Into<Right<'b>>) {
    product(Isa::best(), k, c, a.into(), b.into(), true);
}

/// Computes `y[i] = Σ factor · x[shift + i]` over `taps`; with `add`, the sum is added to `y`.
///
/// # Panics
/// When the length of `y` is not a multiple of [`LINE`], or a line exceeds `x`.
pub fn shifted_sums(taps: &[Shifted], x: &[f32], y: &mut [f32], add: bool) {
    Isa::best().shifted_sums(taps, x, y, add);
}

/// A left operand.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// A matrix in memory, which the product packs.
    Strided(Matrix<'a>),
    /// A packed operand, and the first row to read, which must begin a panel.
    Packed(Packed<'a>, usize),
}

/// A right operand.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// A matrix in memory, which the product packs.
    Strided(Matrix<'a>),
    /// A packed operand, and the first column to read, which must begin a block.
    Packed(PackedColumns<'a>, usize),
    /// A matrix in fewer bits, which the product widens and packs.
    Compact(CompactMatrix<'a>),
    /// Lines in memory, which are read without packing.
    Lines(Lines<'a>),
}

impl<'a> From<Matrix<'a>> for Left<'a> {
    fn from(a: Matrix<'a>) -> Left<'a> {
        Left::Strided(a)
    }
}

impl<'a> From<Matrix<'a>> for Right<'a> {
    fn from(b: Matrix<'a>) -> Right<'a> {
        Right::Strided(b)
    }
}

/// A packed left operand, for products with several right ones.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    data: &'a [f32],
    /// Number of rows, rounded up to whole panels.
    rows: usize,
}

impl Packed<'_> {
    /// Packs `a [m, k]` in the threads of the pool and calls `f` with it.
    ///
    /// # Panics
    /// When `a` is larger than its slice.
    pub fn with<T>(a: Matrix<'_>, m: usize, k: usize, f: impl FnOnce(Packed<'_>) -> T) -> T {
        with_scratch(Packed::size(m, k), |data| {
            Packed::fill(a, m, data);
            f(Packed::from_panels(data, m))
        })
    }

    /// Returns the packed size of `[m, k]`, in elements.
    pub fn size(m: usize, k: usize) -> usize {
        m.next_multiple_of(Isa::best().rows) * k
    }

    /// Packs `m` rows of terms `value(row, term)` into `data`, which has [`Packed::size`] elements, in the threads of the pool.
    pub fn fill_with(m: usize, data: &mut [f32], value: impl Fn(usize, usize) -> f32 + Sync) {
        let high = Isa::best().rows;
        let rows = m.next_multiple_of(high);
        chunks(data, rows * TERMS, |block, to| {
            let (from, terms) = (block * TERMS, to.len() / rows);
            for at in (0..m).step_by(high) {
                let panel_rows = high.min(m - at);
                let panel = &mut to[at * terms..][..panel_rows * terms];
                for (t, to) in panel.chunks_exact_mut(panel_rows).enumerate() {
                    to.iter_mut().enumerate().for_each(|(i, to)| *to = value(at + i, from + t));
                }
            }
        });
    }

    /// Packs `a [m, k]` into `data`, which has [`Packed::size`] elements, in the threads of the pool.
    pub fn fill(a: Matrix<'_>, m: usize, data: &mut [f32]) {
        let high = Isa::best().rows;
        let rows = m.next_multiple_of(high);
        chunks(data, rows * TERMS, |block, to| {
            let (from, terms) = (block * TERMS, to.len() / rows);
            for at in (0..m).step_by(high) {
                pack::rows(a, at, high.min(m - at), from, terms, &mut to[at * terms..]);
            }
        });
    }

    /// Wraps `data`, to which `m` rows were packed.
    pub fn from_panels(data: &[f32], m: usize) -> Packed<'_> {
        Packed { data, rows: m.next_multiple_of(Isa::best().rows) }
    }

    /// Returns the number of rows per panel. Tiles begin at its multiples.
    pub fn step() -> usize {
        Isa::best().rows
    }
}

/// A packed right operand, for products with several left ones.
#[derive(Clone, Copy)]
pub struct PackedColumns<'a> {
    data: &'a [f32],
    columns: usize,
    /// Number of columns, rounded up to whole panels.
    padded: usize,
}

impl PackedColumns<'_> {
    /// Packs `b [k, n]` in the threads of the pool and calls `f` with it.
    ///
    /// # Panics
    /// When `b` is larger than its slice.
    pub fn with<T>(b: Matrix<'_>, k: usize, n: usize, f: impl FnOnce(PackedColumns<'_>) -> T) -> T {
        let lanes = Isa::best().lanes;
        let padded = n.next_multiple_of(lanes);
        with_scratch(padded * k, |data| {
            let mut blocks = vec![];
            let mut unpacked = &mut data[..];
            for from in (0..k).step_by(TERMS) {
                let terms = TERMS.min(k - from);
                for start in (0..n).step_by(COLUMNS) {
                    let columns = COLUMNS.min(n - start);
                    let (to, rest) = unpacked.split_at_mut(columns.next_multiple_of(lanes) * terms);
                    unpacked = rest;
                    blocks.push((to, (start, columns), (from, terms)));
                }
            }
            each(blocks, |(to, columns, terms)| {
                let panels = widths(columns.1, lanes).map(|(column, vectors)| (column, vectors * lanes));
                pack::columns(b, columns, terms, panels, to);
            });
            f(PackedColumns { data, columns: n, padded })
        })
    }
}

fn product(isa: &Isa, k: usize, c: &mut Tile<'_>, a: Left<'_>, b: Right<'_>, add: bool) {
    let (m, n) = (c.rows, c.columns);
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 && !add {
        (0..m).for_each(|i| c.line(i).fill(0.0));
    }
    let terms = TERMS.min(k);
    let block = match a {
        Left::Strided(_) => BLOCK.min(m).next_multiple_of(isa.rows),
        Left::Packed(_, first) => {
            assert_eq!(first % isa.rows, 0, "a tile begins within a panel");
            0
        }
    };
    let right_columns = match b {
        Right::Strided(_) | Right::Compact(_) => COLUMNS.min(n.next_multiple_of(isa.lanes)),
        Right::Lines(_) => 0,
        Right::Packed(b, first) => {
            let whole = n % COLUMNS == 0 || first + n == b.columns;
            assert!(first % COLUMNS == 0 && whole, "a strip begins or ends within a block");
            0
        }
    };
    // Panels are aligned to cache lines.
    with_scratch(terms * (block + right_columns) + ROWS * WIDEST + 16, |scratch| {
        let offset = scratch.as_ptr().align_offset(64).min(16);
        let (packed_b, rest) = scratch[offset..].split_at_mut(terms * right_columns);
        let (packed_a, edge) = rest.split_at_mut(terms * block);
        for from in (0..k).step_by(TERMS) {
            let terms = TERMS.min(k - from);
            let add = add || from > 0;
            for first in (0..m).step_by(BLOCK) {
                let rows = BLOCK.min(m - first);
                let panels = (0..rows).step_by(isa.rows).map(|at| (at, isa.rows.min(rows - at)));
                let left: &[f32] = match a {
                    Left::Strided(a) => {
                        for (at, high) in panels.clone() {
                            pack::rows(a, first + at, high, from, terms, &mut packed_a[at * terms..]);
                        }
                        packed_a
                    }
                    Left::Packed(a, row) => &a.data[from * a.rows + (row + first) * terms..],
                };
                for start in (0..n).step_by(COLUMNS) {
                    let columns = COLUMNS.min(n - start);
                    let widths = widths(columns, isa.lanes);
                    let lines = widths.clone().map(|(column, vectors)| (column, vectors * isa.lanes));
                    let right: &[f32] = match b {
                        Right::Strided(b) => {
                            pack::columns(b, (start, columns), (from, terms), lines, packed_b);
                            packed_b
                        }
                        Right::Compact(b) => {
                            pack::compact_columns(b, (start, columns), (from, terms), lines, packed_b);
                            packed_b
                        }
                        Right::Packed(b, first) => &b.data[from * b.padded + (first + start) * terms..],
                        Right::Lines(_) => &[],
                    };
                    for (at, high) in panels.clone() {
                        let a = &left[at * terms..];
                        for (column, vectors) in widths.clone() {
                            let width = vectors * isa.lanes;
                            let b = match b {
                                Right::Lines(lines) => Terms::Lines(lines, from, start + column),
                                _ => Terms::Panel(&right[column * terms..]),
                            };
                            let place = (first + at, start + column);
                            if column + width <= columns {
                                isa.multiply([terms, high, vectors], a, b, c, place, add);
                            } else {
                                let mut whole = Tile::whole(&mut edge[..high * width], high, width);
                                isa.multiply([terms, high, vectors], a, b, &mut whole, (0, 0), false);
                                finish(c, place, columns - column, edge.chunks(width).take(high), add);
                            }
                        }
                    }
                }
            }
        }
    });
}

/// Copies the rows of a panel that exceeds the tile.
fn finish<'e>(
    c: &mut Tile<'_>,
    (row, column): (usize, usize),
    columns: usize,
    rows: impl Iterator<Item = &'e [f32]>,
    add: bool,
) {
    for (i, from) in rows.enumerate() {
        let to = &mut c.line(row + i)[column..column + columns];
        if add {
            to.iter_mut().zip(from).for_each(|(to, v)| *to += v);
        } else {
            to.copy_from_slice(&from[..columns]);
        }
    }
}

/// Divides `n` columns into panels `(first column, vectors)`, as wide as possible, but two panels of two vectors instead of three
/// and one.
fn widths(n: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let vectors_total = n.div_ceil(lanes);
    let mut assigned = 0;
    std::iter::from_fn(move || {
        let left = vectors_total - assigned;
        let vectors = match left {
            0 => return None,
            4 => 2,
            _ => left.min(VECTORS),
        };
        let column = assigned * lanes;
        assigned += vectors;
        Some((column, vectors))
    })
}
