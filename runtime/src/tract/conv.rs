//! Convolutions by a constant weight, and their adjoints, as matrix products over columns.
//!
//! Shapes: `x [n, c, …]`, `w [o, c/g, …]`, `y [n, o, …]`; `q` is `c/g` times the taps. Nothing of size `q × positions` is
//! ever whole in memory: columns are made strip by strip.

use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::epilogue::{Piece, Step, apply};
use super::gemm::{Matrix, gemm};
use super::parallel::{blocks, chunks};
use super::weights::{Layout, Weight};

/// Elements of a strip of columns: what stays in the cache between its making and its use.
const STRIP: usize = 1 << 18;

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
        let mut y = Tensor::zero::<f32>(&self.dims)?;
        let mut plain = y.try_as_plain_ram_mut()?;
        let out = plain.as_slice_mut::<f32>()?;
        let (o, c) = (self.outputs / self.groups, self.channels / self.groups);
        match self.way {
            _ if out.is_empty() => {}
            _ if o * c <= FEW => self.tap_by_tap(&slices, out),
            Way::Forward => self.forward(&slices, out),
            Way::Adjoint => self.adjoint(&slices, out),
        }
        Ok(tvec!(y.into()))
    }
}

impl TypedOp for Convolution {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.dims)))
    }

    as_op!();
}

/// Positions up to which the kernel is slow on a weight that lies across.
const NARROW: usize = 512;

/// How the weight of a convolution is best stored.
pub fn layout(way: Way, taps: &Taps, o: usize, q: usize) -> Layout {
    let few = o * (q / taps.count().max(1)) <= FEW;
    if way == Way::Adjoint && !few && taps.positions() <= NARROW { Layout::Turned(o) } else { Layout::Plain }
}

/// Rows of a block of `all`: some blocks for each thread of a large machine, none too thin for the kernel.
fn block_of(all: usize) -> usize {
    all.div_ceil(8).next_multiple_of(16).clamp(32, 256)
}

impl Convolution {
    fn sizes(&self) -> (usize, usize, usize) {
        let (o, c) = (self.outputs / self.groups, self.channels / self.groups);
        (o, c, c * self.taps.count())
    }

    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, q) = self.sizes();
        let (positions, plane) = (self.taps.positions(), self.taps.plane());
        let x = inputs[0];
        let finish = |row: usize, at: usize, y: &mut [f32]| {
            apply(&self.steps, inputs, Piece { row, width: positions, at }, y);
        };
        if self.taps.identity() {
            // Groups of images and channels at once: the operand's planes are the columns.
            blocks(y, self.dims[0] * self.groups, o, positions, block_of(o), |b, y| {
                let w = self.weight.rows(b.group % self.groups * o + b.first);
                let columns = Matrix { data: &x[b.group * c * plane..], row: plane, column: 1 };
                gemm([b.rows, q, positions], y, positions, w, columns);
                for (i, y) in y.chunks_exact_mut(positions).enumerate() {
                    finish(b.group * o + b.first + i, 0, y);
                }
            });
            return;
        }
        let wide = (STRIP / q).next_multiple_of(64).min(positions);
        let mut columns = vec![0.0f32; q * wide];
        for (group, y) in y.chunks_exact_mut(o * positions).enumerate() {
            let x = &x[group * c * plane..(group + 1) * c * plane];
            for start in (0..positions).step_by(wide) {
                let strip = start..(start + wide).min(positions);
                let columns = &mut columns[..q * strip.len()];
                chunks(columns, self.taps.count() * strip.len(), |i, columns| {
                    self.taps.unfold(&x[i * plane..(i + 1) * plane], &strip, columns);
                });
                blocks(y, 1, o, positions, block_of(o), |b, y| {
                    let w = self.weight.rows(group % self.groups * o + b.first);
                    let columns = Matrix { data: columns, row: strip.len(), column: 1 };
                    gemm([b.rows, q, strip.len()], &mut y[start..], positions, w, columns);
                    for (i, y) in y.chunks_exact_mut(positions).enumerate() {
                        finish(group * o + b.first + i, start, &mut y[strip.clone()]);
                    }
                });
            }
        }
    }

    fn adjoint(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, q) = self.sizes();
        let (positions, plane, count) = (self.taps.positions(), self.taps.plane(), self.taps.count());
        let s = inputs[0];
        let most = (block_of(q) / count).max(1);
        blocks(y, self.dims[0] * self.groups, c, plane, most, |b, y| {
            let rows = b.rows * count;
            let w = self.weight.columns(b.group % self.groups, o, b.first * count);
            let s = &s[b.group * o * positions..];
            if self.taps.identity() {
                let s = Matrix { data: s, row: positions, column: 1 };
                gemm([rows, o, positions], y, positions, w, s);
            } else {
                let wide = (STRIP / rows.max(o)).next_multiple_of(64).min(positions);
                let mut columns = vec![0.0f32; rows * wide];
                for start in (0..positions).step_by(wide) {
                    let strip = start..(start + wide).min(positions);
                    let columns = &mut columns[..rows * strip.len()];
                    let s = Matrix { data: &s[start..], row: positions, column: 1 };
                    gemm([rows, o, strip.len()], columns, strip.len(), w, s);
                    let planes = y.chunks_exact_mut(plane).zip(columns.chunks_exact(count * strip.len()));
                    planes.for_each(|(y, columns)| self.taps.fold(columns, &strip, y));
                }
            }
            for (i, y) in y.chunks_exact_mut(plane).enumerate() {
                let piece = Piece { row: b.group * c + b.first + i, width: plane, at: 0 };
                apply(&self.steps, inputs, piece, y);
            }
        });
        debug_assert_eq!(q, c * count);
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
