//! Convolutions by a constant weight, and their adjoints, as matrix products over columns.
//!
//! Shapes: `x [n, c, …]`, `w [o, c/g, …]`, `y [n, o, …]`; `q` is `c/g` times the taps. Of planes with many positions the
//! columns `[q, positions]` are never whole in memory: they are made strip by strip.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::epilogue::{Piece, Step, apply};
use super::gemm::{Groups, Left, Matrix, PackedColumns, Right, gemm};
use super::parallel::{Tile, chunks, made, tiles, with_scratch};
use super::weights::Weight;

/// Elements of a strip of columns: what stays in the cache between its making and its use.
const STRIP: usize = 1 << 18;

/// Positions from which strips are cut, each with columns of its own; below, all channels share the columns.
const MANY: usize = 1024;

/// Output channels by input channels of a group up to which taps are multiplied one by one.
pub const FEW: usize = 4;

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

/// How many positions a strip has at most, so that there are strips for several threads and none is much smaller.
fn strip(positions: usize, most: usize) -> usize {
    let parts = positions.div_ceil(most).next_multiple_of(4);
    positions.div_ceil(parts).next_multiple_of(16)
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
        // Without groups the forward's weight is packed once and for all.
        let once = self.way == Way::Forward && self.groups == 1;
        let weight = |group: usize, row: usize| match self.way {
            _ if once => Left::Packed(self.weight.packed(o), row),
            Way::Forward => self.weight.rows(group % self.groups * o + row).into(),
            Way::Adjoint => self.weight.columns(group % self.groups * c, row).into(),
        };
        let follow = |tile: &mut Tile<'_>| {
            for i in 0..tile.rows {
                let piece = Piece { row: tile.group * o + tile.row + i, width: positions, at: tile.column };
                apply(&self.steps, inputs, piece, tile.line(i));
            }
        };
        if positions >= MANY {
            let wide = strip(positions, (STRIP / q).clamp(128, 1024));
            tiles(y, [groups, o, positions], (o, wide), |mut tile| {
                let (a, at) = (weight(tile.group, 0), tile.column);
                let planes = &x[tile.group * c * plane..];
                if self.taps.identity() {
                    // The operand's planes are the columns.
                    gemm(q, &mut tile, a, Matrix::rows(&planes[at..], plane));
                } else {
                    let group = |i: usize, columns: Range<usize>, lines: &mut [f32]| {
                        let strip = at + columns.start..at + columns.end;
                        self.taps.unfold(&planes[i * plane..][..plane], &strip, lines);
                    };
                    let groups = Groups { size: count, group };
                    gemm(q, &mut tile, a, Right::Made(&|part| groups.fill(part)));
                }
                follow(&mut tile);
            });
            return;
        }
        for (group, y) in y.chunks_exact_mut(o * positions).enumerate() {
            let x = &x[group * c * plane..(group + 1) * c * plane];
            let product = |packed: PackedColumns<'_>| {
                tiles(y, [1, o, positions], (o.div_ceil(8).next_multiple_of(8), positions), |mut tile| {
                    tile.group = group;
                    let a = weight(group, tile.row);
                    gemm(q, &mut tile, a, Right::Packed(packed, 0));
                    follow(&mut tile);
                });
            };
            if self.taps.identity() {
                PackedColumns::with(Matrix::rows(x, positions), q, positions, product);
            } else {
                let unfold = |i: usize, columns: Range<usize>, lines: &mut [f32]| {
                    self.taps.unfold(&x[i * plane..(i + 1) * plane], &columns, lines);
                };
                PackedColumns::with_groups(&Groups { size: count, group: unfold }, q, positions, product);
            }
        }
    }

    fn adjoint(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (positions, plane, count) = (self.taps.positions(), self.taps.plane(), self.taps.count());
        let s = inputs[0];
        let wide = PackedColumns::STRIP;
        let most = (c.div_ceil(8)).clamp(1, (256 / count).max(1));
        for (group, y) in y.chunks_exact_mut(c * plane).enumerate() {
            let s = &s[group * o * positions..];
            PackedColumns::with(Matrix::rows(s, positions), o, positions, |s| {
                tiles(y, [1, c, plane], (most, plane), |mut y| {
                    let rows = y.rows * count;
                    (0..y.rows).for_each(|i| y.line(i).fill(0.0));
                    let a = self.weight.columns(group % self.groups * o, y.row * count);
                    with_scratch(rows * wide, |columns| {
                        for at in (0..positions).step_by(wide) {
                            let strip = at..(at + wide).min(positions);
                            let columns = &mut columns[..rows * strip.len()];
                            let mut tile = Tile::whole(columns, rows, strip.len());
                            gemm(o, &mut tile, a, Right::Packed(s, at));
                            for (i, columns) in columns.chunks_exact(count * strip.len()).enumerate() {
                                self.taps.fold(columns, &strip, y.line(i));
                            }
                        }
                    });
                    for i in 0..y.rows {
                        let piece = Piece { row: group * c + y.row + i, width: plane, at: 0 };
                        apply(&self.steps, inputs, piece, y.line(i));
                    }
                });
            });
        }
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
