//! Convolutions by a constant weight, and their adjoints, as matrix products over columns.
//!
//! Shapes: `x [n, c, …]`, `w [o, c/g, …]`, `y [n, o, …]`; `q` is `c/g` times the taps. Of planes with many positions the
//! columns `[q, positions]` are never whole in memory: they are made strip by strip.

use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::epilogue::{Piece, Step, apply};
use super::gemm::{Matrix, gemm};
use super::parallel::{Tile, chunks, made, tiles, with_scratch};
use super::weights::Weight;

/// Elements of a strip of columns: what stays in the cache between its making and its use.
const STRIP: usize = 1 << 18;

/// Positions from which strips are cut, each with columns of its own; below, all channels share the columns.
const MANY: usize = 1024;

/// Output channels by input channels of a group up to which taps are multiplied one by one.
const FEW: usize = 4;

/// Which way a convolution goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From `x` to `y`.
    Forward,
    /// The adjoint, from `y`'s side to `x`'s.
    Adjoint,
}

/// A convolution by a constant, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Forward or adjoint.
    pub way: Way,
    /// The window over a plane of `x`.
    pub taps: Taps,
    /// Groups.
    pub groups: usize,
    /// Dimensions of the result.
    pub dims: Vec<usize>,
    /// Output channels of the forward.
    pub outputs: usize,
    /// Input channels of the forward.
    pub channels: usize,
    /// The weight as `[o, q]`.
    pub weight: Weight,
    /// What follows.
    pub steps: Vec<Step>,
}

impl Op for Convolution {
    fn name(&self) -> StaticName {
        format!("dlbc.Conv{:?}", self.way).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Convolution {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let slices = super::slices(&inputs)?;
        let (o, c, _) = self.sizes();
        let y = made(&self.dims, |y| match self.way {
            _ if y.is_empty() => {}
            _ if o * c <= FEW => self.tap_by_tap(&slices, y),
            Way::Forward => self.forward(&slices, y),
            Way::Adjoint if self.taps.identity() => self.forward(&slices, y),
            Way::Adjoint => self.adjoint(&slices, y),
        })?;
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Convolution {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.dims)))
    }

    as_op!();
}

/// Positions up to which an adjoint is made channel by channel within a position: the kernel runs along the longer axis.
const NARROW: usize = 512;

/// How many positions a strip has at most, so that there are strips for several threads and none is much smaller.
fn strip(positions: usize, most: usize) -> usize {
    let parts = positions.div_ceil(most).next_multiple_of(4);
    positions.div_ceil(parts).next_multiple_of(16)
}

/// The largest tile of a product of `rows` by `columns`: some for each thread of a large machine, none too thin.
fn tile(rows: usize, columns: usize) -> (usize, usize) {
    let wide = if columns >= NARROW { strip(columns, 512) } else { columns.max(1) };
    let parts = (8 / columns.div_ceil(wide)).max(1);
    (rows.div_ceil(parts).max(24), wide)
}

impl Convolution {
    fn sizes(&self) -> (usize, usize, usize) {
        let (o, c) = (self.outputs / self.groups, self.channels / self.groups);
        (o, c, c * self.taps.count())
    }

    /// The forward; and the adjoint of a window that is its own column, with the channels' parts exchanged.
    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (positions, plane, count) = (self.taps.positions(), self.taps.plane(), self.taps.count());
        let (o, c) = if self.way == Way::Forward { (o, c) } else { (c, o) };
        let (x, q) = (inputs[0], c * count);
        let groups = self.dims[0] * self.groups;
        let product = |tile: &mut Tile<'_>, columns: Matrix<'_>| {
            let group = tile.group % self.groups;
            match self.way {
                Way::Forward => gemm(q, tile, self.weight.rows(group * o + tile.row), columns),
                Way::Adjoint => self.transposed(group, tile.row, columns, tile),
            }
            for i in 0..tile.rows {
                let piece = Piece { row: tile.group * o + tile.row + i, width: positions, at: tile.column };
                apply(&self.steps, inputs, piece, tile.line(i));
            }
        };
        let most = tile(o, positions);
        if self.taps.identity() {
            // The operand's planes are the columns.
            tiles(y, [groups, o, positions], most, |mut tile| {
                let data = &x[tile.group * c * plane + tile.column..];
                product(&mut tile, Matrix { data, row: plane, column: 1 });
            });
        } else if positions >= MANY {
            let wide = strip(positions, (STRIP / q).clamp(128, 1024));
            tiles(y, [groups, o, positions], (o, wide), |mut tile| {
                let strip = tile.column..tile.column + tile.columns;
                with_scratch(q * tile.columns, |columns| {
                    let planes = x[tile.group * c * plane..].chunks_exact(plane);
                    let columns_of = columns.chunks_exact_mut(count * strip.len());
                    planes.zip(columns_of).for_each(|(x, columns)| self.taps.unfold(x, &strip, columns));
                    product(&mut tile, Matrix { data: columns, row: strip.len(), column: 1 });
                });
            });
        } else {
            let mut columns = vec![0.0f32; q * positions];
            for (group, y) in y.chunks_exact_mut(o * positions).enumerate() {
                let x = &x[group * c * plane..(group + 1) * c * plane];
                chunks(&mut columns, count * positions, |i, columns| {
                    self.taps.unfold(&x[i * plane..(i + 1) * plane], &(0..positions), columns);
                });
                tiles(y, [1, o, positions], most, |mut tile| {
                    tile.group = group;
                    let data = &columns[tile.column..];
                    product(&mut tile, Matrix { data, row: positions, column: 1 });
                });
            }
        }
    }

    /// `tile = Wᵀ · s` for the rows of a group's `Wᵀ` from `first` on.
    fn transposed(&self, group: usize, first: usize, s: Matrix<'_>, tile: &mut Tile<'_>) {
        let (o, _, _) = self.sizes();
        let (rows, columns) = (tile.rows, tile.columns);
        if columns > NARROW {
            gemm(o, tile, self.weight.columns(group * o, first), s);
            return;
        }
        // Few columns: the kernel runs along the rows, and the result is turned.
        let s = Matrix { data: s.data, row: s.column, column: s.row };
        let w =
            Matrix { data: self.weight.from(group * o * self.weight.row() + first), ..self.weight.rows(0) };
        with_scratch(columns * rows, |turned| {
            gemm(o, &mut Tile::whole(turned, columns, rows), s, w);
            for i in 0..rows {
                let from = turned[i..].iter().step_by(rows);
                tile.line(i).iter_mut().zip(from).for_each(|(t, v)| *t = *v);
            }
        });
    }

    fn adjoint(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (positions, plane, count) = (self.taps.positions(), self.taps.plane(), self.taps.count());
        let s = inputs[0];
        let most = (c.div_ceil(8)).clamp(1, (256 / count).max(1));
        tiles(y, [self.dims[0] * self.groups, c, plane], (most, plane), |mut y| {
            let rows = y.rows * count;
            let s = &s[y.group * o * positions..];
            let wide = (STRIP / rows).next_multiple_of(64).clamp(128, 1024).min(positions);
            let group = y.group % self.groups;
            (0..y.rows).for_each(|i| y.line(i).fill(0.0));
            with_scratch(rows * wide, |columns| {
                for start in (0..positions).step_by(wide) {
                    let strip = start..(start + wide).min(positions);
                    let columns = &mut columns[..rows * strip.len()];
                    let s = Matrix { data: &s[start..], row: positions, column: 1 };
                    let mut tile = Tile::whole(columns, rows, strip.len());
                    self.transposed(group, y.row * count, s, &mut tile);
                    for (i, columns) in columns.chunks_exact(count * strip.len()).enumerate() {
                        self.taps.fold(columns, &strip, y.line(i));
                    }
                }
            });
            for i in 0..y.rows {
                let piece = Piece { row: y.group * c + y.row + i, width: plane, at: 0 };
                apply(&self.steps, inputs, piece, y.line(i));
            }
        });
    }

    /// Depthwise convolutions and others with few channels in a group.
    fn tap_by_tap(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (positions, plane, count) = (self.taps.positions(), self.taps.plane(), self.taps.count());
        let x = inputs[0];
        let (own, width) = match self.way {
            Way::Forward => (o, positions),
            Way::Adjoint => (c, plane),
        };
        chunks(y, width, |row, y| {
            let (group, i) = (row / own, row % own);
            let weight = |o_: usize, c_: usize| {
                self.weight.values((group % self.groups * o + o_) * c * count + c_ * count, count)
            };
            y.fill(0.0);
            match self.way {
                Way::Forward => (0..c).for_each(|j| {
                    self.taps.correlate(weight(i, j), &x[(group * c + j) * plane..][..plane], y);
                }),
                Way::Adjoint => (0..o).for_each(|j| {
                    self.taps.scatter(weight(j, i), &x[(group * o + j) * positions..][..positions], y);
                }),
            }
            apply(&self.steps, inputs, Piece { row, width, at: 0 }, y);
        });
    }
}
