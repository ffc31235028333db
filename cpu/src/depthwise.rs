//! Depthwise convolutions, and others with few channels per group: all taps of a line in one pass.

use std::ops::Range;

use super::conv::{Convolution, Direction, GroupSizes};
use super::epilogue::{Piece, apply};
use super::gemm::{LINE, Shifted, shifted_sums};
use super::grid::{Grid, View};
use super::parallel::{chunks, with_scratch};

/// Maximum ratio of grid points that are not positions to positions. Summing a few taps in vain costs less than laying out the
/// operand for each tap.
const MAX_SPARE: f32 = 2.0;

/// Maximum ratio of the grid's elements to those of both planes for which taps are summed on the grid.
const MAX_GRID: usize = 8;

impl Convolution {
    /// Computes the convolution or its adjoint plane by plane.
    pub(super) fn sum_of_taps(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let GroupSizes { o, c, .. } = self.sizes();
        let (positions, plane, count) = (self.taps.positions(), self.taps.plane(), self.taps.count());
        let (x, weights) = (inputs[0], self.weight.floats());
        let (planes, width) = match self.direction {
            Direction::Forward => (o, positions),
            Direction::Adjoint => (c, plane),
        };
        let grid = self.taps.grid(MAX_SPARE);
        let points = grid.points(&(0..positions));
        let view = grid.view(0..plane);
        let small = grid.phases.len() * (points.len() + grid.reach) <= MAX_GRID * (positions + plane + LINE);
        chunks(y, width, |row, y| {
            let (group, i) = (row / planes, row % planes);
            let weight = |o_: usize, c_: usize| {
                &weights[(group % self.groups * o + o_) * c * count + c_ * count..][..count]
            };
            let operand = |j: usize| (weight(i, j), &x[(group * c + j) * plane..][..plane]);
            let result = |j: usize| (weight(j, i), &x[(group * o + j) * positions..][..positions]);
            match self.direction {
                Direction::Forward if small => correlate(&grid, &points, (0..c).map(operand), y),
                Direction::Adjoint if small => scatter(&grid, &view, (0..o).map(result), y),
                Direction::Forward => {
                    y.fill(0.0);
                    (0..c).map(operand).for_each(|(w, x)| self.taps.correlate(w, x, y));
                }
                Direction::Adjoint => {
                    y.fill(0.0);
                    (0..o).map(result).for_each(|(w, s)| self.taps.scatter(w, s, y));
                }
            }
            apply(&self.steps, inputs, Piece { row, width, at: 0 }, y);
        });
    }
}

/// Computes `y[p] = Σ w[j][tap] · x[j][element of tap at p]` over all taps of the planes `x`, each with its weights.
fn correlate<'p>(
    grid: &Grid,
    points: &Range<usize>,
    planes: impl Iterator<Item = (&'p [f32], &'p [f32])>,
    y: &mut [f32],
) {
    let width = points.len().next_multiple_of(LINE);
    let size = width + grid.reach;
    with_scratch(size * grid.phases.len() + width, |all| {
        let (laid, sums) = all.split_at_mut(size * grid.phases.len());
        for (j, (w, x)) in planes.enumerate() {
            for (phase, target) in grid.phases.iter().zip(laid.chunks_exact_mut(size)) {
                grid.lay(phase, x, &(0..size), target);
            }
            let shifted = |(w, (phase, shift)): (&f32, &(usize, usize))| Shifted {
                factor: *w,
                shift: phase * size + shift,
            };
            let taps: Vec<Shifted> = w.iter().zip(&grid.taps).map(shifted).collect();
            shifted_sums(&taps, laid, sums, j > 0);
        }
        grid.positions(points, |position, point, len| {
            y[position..position + len].copy_from_slice(&sums[point..point + len]);
        });
    });
}

/// Computes the adjoint of [`correlate`]: `x[element of tap at p] = Σ w[j][tap] · s[j][p]`.
fn scatter<'p>(
    grid: &Grid,
    view: &View,
    planes: impl Iterator<Item = (&'p [f32], &'p [f32])>,
    x: &mut [f32],
) {
    x.fill(0.0);
    let max_points = view.points.iter().map(Range::len).max().unwrap_or(0).next_multiple_of(LINE);
    let size = (view.lead.len() + LINE).max(max_points);
    with_scratch(size + max_points, |all| {
        let (laid, sums) = all.split_at_mut(size);
        for (w, s) in planes {
            grid.lay_positions(s, &view.lead, laid);
            for (i, phase) in grid.phases.iter().enumerate().filter(|(i, _)| !view.points[*i].is_empty()) {
                let first = view.points[i].start + grid.reach - view.lead.start;
                let shifted =
                    |(tap, shift): &(usize, usize)| Shifted { factor: w[*tap], shift: first - shift };
                let taps: Vec<Shifted> = phase.taps.iter().map(shifted).collect();
                let sums = &mut sums[..view.points[i].len().next_multiple_of(LINE)];
                shifted_sums(&taps, laid, sums, false);
                grid.gather(i, view, sums, x);
            }
        }
    });
}
