//! Convolutions by a constant weight, and their adjoints, as matrix products over columns.
//!
//! Shapes: `x [n, c, …]`, `w [o, c/g, …]`, `y [n, o, …]`; `q` is `c/g` times the taps. The
//! columns `[q, positions]` are never in memory: on a [`Grid`] each of their rows is a line of the operand's planes.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::epilogue::{Piece, Step, apply};
use super::gemm::{Left, Lines, Matrix, Packed, PackedColumns, Right, gemm};
use super::grid::{Grid, View};
use super::parallel::{Tile, chunks, made, tiles, with_scratch};
use super::weights::Weight;

/// Output channels by input channels of a group up to which taps are multiplied one by one.
pub const FEW: usize = 4;

/// Elements of a strip, of the operand or of the result: what stays in the second cache.
const STRIP: usize = 1 << 17;

/// Positions from which strips are cut; below, tiles have all positions of some channels.
const MANY: usize = 1024;

/// Points of a grid beside its positions, over them, that a product may compute for nothing.
const SPARE: f32 = 0.5;

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
    /// The weight as its products read it.
    pub panels: Panels,
}

/// A weight in panels, by group and, for an adjoint, by phase; made when it is first asked for.
#[derive(Clone, Default)]
pub struct Panels(Arc<OnceLock<Vec<Vec<f32>>>>);

// tract compares operators to merge equal nodes: panels follow from the rest.
impl PartialEq for Panels {
    fn eq(&self, _: &Panels) -> bool {
        true
    }
}

impl Eq for Panels {}

impl std::fmt::Debug for Panels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Panels")
    }
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
        let slices = super::slices::slices(&inputs)?;
        let (o, c, _) = self.sizes();
        let y = made(&self.dims, |y| match self.way {
            _ if y.is_empty() => {}
            _ if o * c <= FEW => self.sum_of_taps(&slices, y),
            _ if self.taps.identity() => self.one_tap(&slices, y),
            Way::Forward => self.forward(&slices, y),
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
    /// Of a group: output channels, input channels, input channels by taps.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        let (o, c) = (self.outputs / self.groups, self.channels / self.groups);
        (o, c, c * self.taps.count())
    }

    /// The panels of all groups: `[o, q]` for the forward, `[c, o]` by phase for the adjoint, its terms also by tap.
    fn panels(&self, grid: Option<&Grid>) -> &[Vec<f32>] {
        // No lock is held while the threads of the pool pack: one that waits may be given another run of this plan.
        if let Some(made) = self.panels.0.get() {
            return made;
        }
        let (o, c, q) = self.sizes();
        let count = self.taps.count();
        let phases: Vec<Vec<usize>> = match grid {
            Some(grid) => grid.phases.iter().map(|p| p.taps.iter().map(|(tap, _)| *tap).collect()).collect(),
            None => vec![(0..count).collect()],
        };
        let adjoint = |group: usize, taps: &Vec<usize>| {
            let n = taps.len();
            let at = |i, t| (group * o + t / n) * q + i * count + taps[t % n];
            Packed::made(c, o * n, |i, t| self.weight.value(at(i, t)))
        };
        let groups = 0..self.groups;
        let made = match self.way {
            Way::Forward => {
                let one = |group| Packed::made(o, q, |i, t| self.weight.value((group * o + i) * q + t));
                groups.map(one).collect()
            }
            Way::Adjoint => {
                groups.flat_map(|group| phases.iter().map(move |taps| adjoint(group, taps))).collect()
            }
        };
        self.panels.0.get_or_init(|| made)
    }

    /// A window that is its own column, forward or, with the channels' parts exchanged, adjoint.
    fn one_tap(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (o, c) = if self.way == Way::Forward { (o, c) } else { (c, o) };
        let (x, plane, groups) = (inputs[0], self.taps.plane(), self.dims[0] * self.groups);
        let panels = self.panels(None);
        let left = |group: usize, row: usize| Left::Packed(Packed::of(&panels[group % self.groups], o), row);
        if plane >= MANY {
            let wide = strip(plane, (STRIP / c.max(o)).clamp(128, 1024));
            tiles(y, [groups, o, plane], (o, wide), |mut tile| {
                let columns = Matrix::rows(&x[tile.group * c * plane + tile.column..], plane);
                let left = left(tile.group, 0);
                gemm(c, &mut tile, left, columns);
                self.follow(inputs, o, plane, &mut tile);
            });
            return;
        }
        for (group, y) in y.chunks_exact_mut(o * plane).enumerate() {
            let x = Matrix::rows(&x[group * c * plane..], plane);
            PackedColumns::with(x, c, plane, |x| {
                tiles(y, [1, o, plane], (rows(o), plane), |mut tile| {
                    tile.group = group;
                    let left = left(group, tile.row);
                    gemm(c, &mut tile, left, Right::Packed(x, 0));
                    self.follow(inputs, o, plane, &mut tile);
                });
            });
        }
    }

    fn follow(&self, inputs: &[&[f32]], rows: usize, width: usize, tile: &mut Tile<'_>) {
        for i in 0..tile.rows {
            let piece = Piece { row: tile.group * rows + tile.row + i, width, at: tile.column };
            apply(&self.steps, inputs, piece, tile.line(i));
        }
    }

    fn forward(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (positions, plane, grid) = (self.taps.positions(), self.taps.plane(), self.taps.grid(SPARE));
        let (x, groups, phases) = (inputs[0], self.dims[0] * self.groups, grid.phases.len());
        let panels = self.panels(None);
        let lay = |channel: usize, points: &Range<usize>, to: &mut [f32]| {
            let x = &x[channel * plane..][..plane];
            let size = to.len() / phases;
            grid.phases.iter().zip(to.chunks_exact_mut(size)).for_each(|(p, to)| grid.lay(p, x, points, to));
        };
        // Points of whole vectors, and those that taps reach from them.
        let sizes = |points: &Range<usize>| {
            let width = points.len().next_multiple_of(Lines::VECTOR);
            (width, phases * (width + grid.reach))
        };
        let product = |tile: &mut Tile<'_>, points: &Range<usize>, laid: &[f32]| {
            let (width, size) = sizes(points);
            let line = |channel: usize| channel * size;
            let offset = |(phase, shift): &(usize, usize)| phase * (width + grid.reach) + shift;
            let offsets: Vec<usize> =
                (0..c).flat_map(|i| grid.taps.iter().map(move |tap| line(i) + offset(tap))).collect();
            let right = Right::Lines(Lines::new(laid, &offsets));
            let left = Left::Packed(Packed::of(&panels[tile.group % self.groups], o), tile.row);
            if points.len() == tile.columns {
                gemm(offsets.len(), tile, left, right);
            } else {
                let rows = tile.rows;
                with_scratch(rows * width, |sums| {
                    gemm(offsets.len(), &mut Tile::whole(sums, rows, width), left, right);
                    for (i, sums) in sums.chunks_exact(width).enumerate() {
                        let column = tile.column;
                        let line = tile.line(i);
                        grid.positions(points, |position, point, len| {
                            let from = &sums[point - points.start..][..len];
                            line[position - column..][..len].copy_from_slice(from);
                        });
                    }
                });
            }
            self.follow(inputs, o, positions, tile);
        };
        if positions >= MANY {
            let most = (STRIP / (c * phases)).saturating_sub(grid.reach).min(STRIP / o);
            tiles(y, [groups, o, positions], (o, strip(positions, most.clamp(256, 2048))), |mut tile| {
                let points = grid.points(&(tile.column..tile.column + tile.columns));
                let (width, size) = sizes(&points);
                let all = points.start..points.start + width + grid.reach;
                with_scratch(c * size, |laid| {
                    for (i, to) in laid.chunks_exact_mut(size).enumerate() {
                        lay(tile.group * c + i, &all, to);
                    }
                    product(&mut tile, &points, laid);
                });
            });
            return;
        }
        let points = grid.points(&(0..positions));
        let (width, size) = sizes(&points);
        for (group, y) in y.chunks_exact_mut(o * positions).enumerate() {
            with_scratch(c * size, |laid| {
                let all = points.start..points.start + width + grid.reach;
                chunks(laid, size, |i, to| lay(group * c + i, &all, to));
                tiles(y, [1, o, positions], (rows(o), positions), |mut tile| {
                    tile.group = group;
                    product(&mut tile, &points, laid);
                });
            });
        }
    }

    fn adjoint(&self, inputs: &[&[f32]], y: &mut [f32]) {
        let (o, c, _) = self.sizes();
        let (positions, plane, grid) = (self.taps.positions(), self.taps.plane(), self.taps.grid(SPARE));
        let (s, groups, phases) = (inputs[0], self.dims[0] * self.groups, grid.phases.len());
        let panels = self.panels(Some(&grid));
        let width = |points: &Range<usize>| points.len().next_multiple_of(Lines::VECTOR);
        let size = |view: &View| {
            let held = view.points.iter().filter(|points| !points.is_empty());
            held.map(|p| p.start + width(p) + grid.reach - view.lead.start).max().unwrap_or(0)
        };
        let lay = |channel: usize, view: &View, to: &mut [f32]| {
            grid.lay_positions(&s[channel * positions..][..positions], &view.lead, to);
        };
        let product = |tile: &mut Tile<'_>, view: &View, laid: &[f32]| {
            (0..tile.rows).for_each(|i| tile.line(i).fill(0.0));
            let size = size(view);
            for (i, phase) in grid.phases.iter().enumerate().filter(|(i, _)| !view.points[*i].is_empty()) {
                let points = &view.points[i];
                let first = points.start + grid.reach - view.lead.start;
                let offset = move |channel: usize, shift: usize| channel * size + first - shift;
                let offsets: Vec<usize> =
                    (0..o).flat_map(|j| phase.taps.iter().map(move |(_, shift)| offset(j, *shift))).collect();
                let panels = &panels[tile.group % self.groups * phases + i];
                let left = Left::Packed(Packed::of(panels, c), tile.row);
                let (rows, width) = (tile.rows, width(points));
                with_scratch(rows * width, |sums| {
                    let right = Right::Lines(Lines::new(laid, &offsets));
                    gemm(offsets.len(), &mut Tile::whole(sums, rows, width), left, right);
                    for (j, sums) in sums.chunks_exact(width).enumerate() {
                        grid.gather(i, view, sums, tile.line(j));
                    }
                });
            }
            self.follow(inputs, c, plane, tile);
        };
        let row = self.taps.row_len();
        if plane >= MANY && row < plane {
            let most = (STRIP / o).saturating_sub(grid.reach).min(STRIP / c).clamp(256, 2048);
            let wide = strip(plane, most).next_multiple_of(row);
            tiles(y, [groups, c, plane], (c, wide), |mut tile| {
                let view = grid.view(tile.column..tile.column + tile.columns);
                let size = size(&view);
                with_scratch(o * size, |laid| {
                    for (i, to) in laid.chunks_exact_mut(size.max(1)).enumerate() {
                        lay(tile.group * o + i, &view, to);
                    }
                    product(&mut tile, &view, laid);
                });
            });
            return;
        }
        let view = grid.view(0..plane);
        let size = size(&view);
        for (group, y) in y.chunks_exact_mut(c * plane).enumerate() {
            with_scratch(o * size, |laid| {
                chunks(laid, size, |i, to| lay(group * o + i, &view, to));
                tiles(y, [1, c, plane], (rows(c), plane), |mut tile| {
                    tile.group = group;
                    product(&mut tile, &view, laid);
                });
            });
        }
    }
}

/// Rows of a tile that has all positions.
fn rows(all: usize) -> usize {
    all.div_ceil(8).next_multiple_of(Packed::step())
}
