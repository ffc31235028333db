//! Matrix products of float32.
//!
//! `c = a · b` by blocks of terms that stay in the caches: a block of `a` is packed into panels of a few rows, a panel of `b`
//! after the other into panels a few vectors wide, and a kernel multiplies panels. Operands are read where they lie, with any
//! strides, so a weight needs no copy of its own for the adjoint. Source of the scheme: [goto2008].

mod kernel;
mod matrix;
mod operand;
mod pack;
#[cfg(test)]
mod tests;

pub use kernel::widest;
use kernel::{Isa, ROWS, VECTORS, WIDEST};
pub use matrix::Matrix;
use operand::Terms;
pub use operand::{LINE, Lines, Loop, Shifted};
pub use pack::copy;

use super::parallel::{Tile, chunks, each, with_scratch};

/// Terms of a block: a panel of `b` of so many stays in the first cache.
const TERMS: usize = 256;

/// Rows of a block: so many of `a` stay in the second cache.
const BLOCK: usize = 512;

/// Columns of a block: so many of `b`, packed, stay in the second cache.
const COLUMNS: usize = 4 * WIDEST;

/// `c = a · b` for `a [m, k]`, `b [k, n]` and a tile `c [m, n]`. One thread; the order of the sums depends on `k` alone, so
/// equal rows and columns give equal bits wherever they lie.
///
/// # Panics
/// When an operand is larger than its slice, or one that was packed does not begin or end where panels do.
pub fn gemm<'a, 'b>(k: usize, c: &mut Tile<'_>, a: impl Into<Left<'a>>, b: impl Into<Right<'b>>) {
    product(Isa::best(), k, c, a.into(), b.into(), false);
}

/// `c += a · b`, else as [`gemm`].
///
/// # Panics
/// As [`gemm`].
pub fn gemm_add<'a, 'b>(k: usize, c: &mut Tile<'_>, a: impl Into<Left<'a>>, b: impl Into<Right<'b>>) {
    product(Isa::best(), k, c, a.into(), b.into(), true);
}

/// `y[i] = Σ factor · x[shift + i]` over `taps`; with `add`, that is added to `y`.
///
/// # Panics
/// When `y` is no number of whole lines, or a line reaches beyond `x`.
pub fn shifted_sums(taps: &[Shifted], x: &[f32], y: &mut [f32], add: bool) {
    Isa::best().shifted_sums(taps, x, y, add);
}

/// A left operand.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// In memory, packed for this product.
    Strided(Matrix<'a>),
    /// Packed before: the rows from one on, which is the first of a panel.
    Packed(Packed<'a>, usize),
}

/// A right operand.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// In memory, packed for this product.
    Strided(Matrix<'a>),
    /// Packed before: the columns from one on, the first of a block.
    Packed(PackedColumns<'a>, usize),
    /// Read where its rows lie.
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

/// A left operand in panels, for products with several right ones.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    data: &'a [f32],
    /// Rows, to the end of the last panel.
    rows: usize,
}

impl Packed<'_> {
    /// Packs `a [m, k]` in the threads of the pool and lends it to `f`.
    ///
    /// # Panics
    /// When `a` is larger than its slice.
    pub fn with<T>(a: Matrix<'_>, m: usize, k: usize, f: impl FnOnce(Packed<'_>) -> T) -> T {
        with_scratch(Packed::size(m, k), |data| {
            Packed::fill(a, m, data);
            f(Packed::of(data, m))
        })
    }

    /// Elements of `[m, k]` when packed.
    pub fn size(m: usize, k: usize) -> usize {
        m.next_multiple_of(Isa::best().rows) * k
    }

    /// Packs `m` rows of `k` terms, each as `value(row, term)` gives it, in the threads of the pool.
    pub fn made(m: usize, k: usize, value: impl Fn(usize, usize) -> f32 + Sync) -> Vec<f32> {
        let high = Isa::best().rows;
        let rows = m.next_multiple_of(high);
        let mut data = vec![0.0; rows * k];
        chunks(&mut data, rows * TERMS, |block, to| {
            let (from, terms) = (block * TERMS, to.len() / rows);
            for at in (0..m).step_by(high) {
                let own = high.min(m - at);
                for (t, to) in to[at * terms..][..own * terms].chunks_exact_mut(own).enumerate() {
                    to.iter_mut().enumerate().for_each(|(i, to)| *to = value(at + i, from + t));
                }
            }
        });
        data
    }

    /// Packs `a [m, k]` into `data`, of [`Packed::size`], in the threads of the pool.
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

    /// The `m` rows that were packed into `data`.
    pub fn of(data: &[f32], m: usize) -> Packed<'_> {
        Packed { data, rows: m.next_multiple_of(Isa::best().rows) }
    }

    /// Rows of a panel: where a tile may begin.
    pub fn step() -> usize {
        Isa::best().rows
    }
}

/// A right operand in panels, for products with several left ones.
#[derive(Clone, Copy)]
pub struct PackedColumns<'a> {
    data: &'a [f32],
    columns: usize,
    /// Columns, to the end of the last panel.
    padded: usize,
}

impl PackedColumns<'_> {
    /// Packs `b [k, n]` in the threads of the pool and lends it to `f`.
    ///
    /// # Panics
    /// When `b` is larger than its slice.
    pub fn with<T>(b: Matrix<'_>, k: usize, n: usize, f: impl FnOnce(PackedColumns<'_>) -> T) -> T {
        let lanes = Isa::best().lanes;
        let padded = n.next_multiple_of(lanes);
        with_scratch(padded * k, |data| {
            let mut parts = vec![];
            let mut left = &mut data[..];
            for from in (0..k).step_by(TERMS) {
                let terms = TERMS.min(k - from);
                for start in (0..n).step_by(COLUMNS) {
                    let columns = COLUMNS.min(n - start);
                    let (to, later) = left.split_at_mut(columns.next_multiple_of(lanes) * terms);
                    left = later;
                    parts.push((to, (start, columns), (from, terms)));
                }
            }
            each(parts, |(to, columns, terms)| {
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
    let wide = match b {
        Right::Strided(_) => COLUMNS.min(n.next_multiple_of(isa.lanes)),
        Right::Lines(_) => 0,
        Right::Packed(b, first) => {
            let whole = n % COLUMNS == 0 || first + n == b.columns;
            assert!(first % COLUMNS == 0 && whole, "a strip begins or ends within a block");
            0
        }
    };
    // A panel begins at a line of the cache.
    with_scratch(terms * (block + wide) + ROWS * WIDEST + 16, |scratch| {
        let offset = scratch.as_ptr().align_offset(64).min(16);
        let (packed_b, rest) = scratch[offset..].split_at_mut(terms * wide);
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
                    let right: &[f32] = match b {
                        Right::Strided(b) => {
                            let panels =
                                widths.clone().map(|(column, vectors)| (column, vectors * isa.lanes));
                            pack::columns(b, (start, columns), (from, terms), panels, packed_b);
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

/// Brings rows of a panel that reaches beyond the tile to their place.
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

/// Panels of `n` columns: `(first column, vectors)`, as wide as can be and none of one vector where two of two will do.
fn widths(n: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let all = n.div_ceil(lanes);
    let mut done = 0;
    std::iter::from_fn(move || {
        let left = all - done;
        let vectors = match left {
            0 => return None,
            4 => 2,
            _ => left.min(VECTORS),
        };
        let column = done * lanes;
        done += vectors;
        Some((column, vectors))
    })
}
