//! Convolutions with a constant weight, and their adjoints, as matrix products over columns.
//!
//! Shapes: `x [n, c, …]`, `w [o, c/g, …]`, `y [n, o, …]`; `q` is `c/g` times the number of taps. The columns `[q, positions]` are
//! never in memory: on a [`Grid`], each of their rows is a line of the operand's planes.

use std::ops::Range;

use tract_onnx::tract_core::internal::*;

use super::columns::Taps;
use super::epilogue::{Piece, Step, apply};
use super::gemm::{Left, Lines, Matrix, Packed, PackedColumns, Right, gemm};
use super::grid::{Grid, View};
use super::panels::{PanelSet, Panels};
use super::parallel::{Tile, chunks, new_tensor, tiles, with_scratch};
use super::weights::Weight;

/// Maximum of output channels times input channels per group for which taps are multiplied one by one.
pub const MAX_DIRECT: usize = 4;

/// Maximum size of a strip of the operand or of the result, in elements, so that it stays in the L2 cache.
const STRIP: usize = 1 << 17;

/// Minimum number of positions that are cut into strips; with fewer, tiles have all positions of some channels.
const MIN_STRIPPED: usize = 1024;

/// Maximum ratio of grid points that are not positions, which a product computes in vain, to positions.
const MAX_SPARE: f32 = 0.5;

/// Direction of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The convolution, from `x` to `y`.
    Forward,
    /// The adjoint, from the shape of `y` to that of `x`.
    Adjoint,
}

/// A convolution with a constant weight, and its epilogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Forward or adjoint.
    pub direction: Direction,
    /// The window over a plane of `x`.
    pub taps: Taps,
    /// Number of groups.
    pub groups: usize,
    /// Dimensions of the result.
    pub dims: Vec<usize>,
    /// Output channels of the convolution; of an adjoint, of the convolution that it belongs to.
    pub outputs: usize,
    /// Input channels of the convolution; of an adjoint, of the convolution that it belongs to.
    pub channels: usize,
    /// The weight as `[o, q]`.
    pub weight: Weight,
    /// Elementwise steps of the epilogue.
    pub steps: Vec<Step>,
    /// The weight in the layout of the product kernel.
    pub panels: Panels,
}

/// Sizes of a group of a convolution.
pub(super) struct GroupSizes {
    /// Output channels.
    pub(super) o: usize,
    /// Input channels.
    pub(super) c: usize,
    /// Input channels times taps.
    pub(super) q: usize,
}

impl Op for Convolution {
    fn name(&self) -> StaticName {
        format!("dlbc.Conv{:?}", self.direction).into()
    }

    op_as_typed_op!();
}

impl EvalOp for Convolution {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let slices = super::slices::slices(&inputs)?;
        let GroupSizes { o, c, .. } = self.sizes();
        let y = new_tensor(&self.dims, |y| match self.direction {
            _ if y.is_empty() => {}
            _ if o * c <= MAX_DIRECT => self.sum_of_taps(&slices, y),
            _ if self.taps.identity() => self.with_panels(None, |panels| self.one_tap(panels, &slices, y)),
            Direction::Forward => self.with_panels(None, |panels| self.forward(panels, &slices, y)),
            Direction::Adjoint => {
                let grid = self.taps.grid(MAX_SPARE);
                self.with_panels(Some(&grid), |panels| self.adjoint((&grid, panels), &slices, y));
            }
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

/// Chooses the number of positions per strip, at most `max`, such that several threads have work and no strip is much smaller than
/// the others.
fn strip(positions: usize, max: usize) -> usize {
    let strips = positions.div_ceil(max).next_multiple_of(4);
    positions.div_ceil(strips).next_multiple_of(16)
}

impl Convolution {
    /// Returns the sizes of a group.
    pub(super) fn sizes(&self) -> GroupSizes {
        let (o, c) = (self.outputs / self.groups, self.channels / self.groups);
        GroupSizes { o, c, q: c * self.taps.count() }
    }

    /// Computes a convolution of one tap, or, with input and output channels exchanged, its adjoint.
    fn one_tap(&self, panels: &PanelSet<'_>, inputs: &[&[f32]], y: &mut [f32]) {
        let GroupSizes { o, c, .. } = self.sizes();
        let (o, c) = if self.direction == Direction::Forward { (o, c) } else { (c, o) };
        let (x, plane, groups) = (inputs[0], self.taps.plane(), self.dims[0] * self.groups);
        let left = |group: usize, row: usize| {
            Left::Packed(Packed::from_panels(panels.phase(group % self.groups, 0), o), row)
        };
        if plane >= MIN_STRIPPED {
            let strip_width = strip(plane, (STRIP / c.max(o)).clamp(128, 1024));
            tiles(y, [groups, o, plane], (o, strip_width), |mut tile| {
                let columns = Matrix::rows(&x[tile.group * c * plane + tile.column..], plane);
                let left = left(tile.group, 0);
                gemm(c, &mut tile, left, columns);
                self.epilogue(inputs, o, plane, &mut tile);
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
                    self.epilogue(inputs, o, plane, &mut tile);
                });
            });
        }
    }

    /// Applies the epilogue to a tile.
    fn epilogue(&self, inputs: &[&[f32]], rows: usize, width: usize, tile: &mut Tile<'_>) {
        for i in 0..tile.rows {
            let piece = Piece { row: tile.group * rows + tile.row + i, width, at: tile.column };
            apply(&self.steps, inputs, piece, tile.line(i));
        }
    }

    fn forward(&self, panels: &PanelSet<'_>, inputs: &[&[f32]], y: &mut [f32]) {
        let GroupSizes { o, c, .. } = self.sizes();
        let (positions, plane, grid) = (self.taps.positions(), self.taps.plane(), self.taps.grid(MAX_SPARE));
        let (x, groups, phases) = (inputs[0], self.dims[0] * self.groups, grid.phases.len());
        let lay = |channel: usize, points: &Range<usize>, target: &mut [f32]| {
            let x = &x[channel * plane..][..plane];
            let size = target.len() / phases;
            grid.phases
                .iter()
                .zip(target.chunks_exact_mut(size))
                .for_each(|(p, target)| grid.lay(p, x, points, target));
        };
        // Points rounded up to whole vectors, and the size of the lines that taps read from there.
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
            let left =
                Left::Packed(Packed::from_panels(panels.phase(tile.group % self.groups, 0), o), tile.row);
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
                            let source = &sums[point - points.start..][..len];
                            line[position - column..][..len].copy_from_slice(source);
                        });
                    }
                });
            }
            self.epilogue(inputs, o, positions, tile);
        };
        if positions >= MIN_STRIPPED {
            let max = (STRIP / (c * phases)).saturating_sub(grid.reach).min(STRIP / o);
            tiles(y, [groups, o, positions], (o, strip(positions, max.clamp(256, 2048))), |mut tile| {
                let points = grid.points(&(tile.column..tile.column + tile.columns));
                let (width, size) = sizes(&points);
                let all = points.start..points.start + width + grid.reach;
                with_scratch(c * size, |laid| {
                    for (i, target) in laid.chunks_exact_mut(size).enumerate() {
                        lay(tile.group * c + i, &all, target);
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
                chunks(laid, size, |i, target| lay(group * c + i, &all, target));
                tiles(y, [1, o, positions], (rows(o), positions), |mut tile| {
                    tile.group = group;
                    product(&mut tile, &points, laid);
                });
            });
        }
    }

    fn adjoint(&self, (grid, panels): (&Grid, &PanelSet<'_>), inputs: &[&[f32]], y: &mut [f32]) {
        let GroupSizes { o, c, .. } = self.sizes();
        let (positions, plane) = (self.taps.positions(), self.taps.plane());
        let (s, groups) = (inputs[0], self.dims[0] * self.groups);
        let width = |points: &Range<usize>| points.len().next_multiple_of(Lines::VECTOR);
        let size = |view: &View| {
            let nonempty = view.points.iter().filter(|points| !points.is_empty());
            nonempty.map(|p| p.start + width(p) + grid.reach - view.lead.start).max().unwrap_or(0)
        };
        let lay = |channel: usize, view: &View, target: &mut [f32]| {
            grid.lay_positions(&s[channel * positions..][..positions], &view.lead, target);
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
                let panels = panels.phase(tile.group % self.groups, i);
                let left = Left::Packed(Packed::from_panels(panels, c), tile.row);
                let (rows, width) = (tile.rows, width(points));
                with_scratch(rows * width, |sums| {
                    let right = Right::Lines(Lines::new(laid, &offsets));
                    gemm(offsets.len(), &mut Tile::whole(sums, rows, width), left, right);
                    for (j, sums) in sums.chunks_exact(width).enumerate() {
                        grid.gather(i, view, sums, tile.line(j));
                    }
                });
            }
            self.epilogue(inputs, c, plane, tile);
        };
        let row = self.taps.row_len();
        if plane >= MIN_STRIPPED && row < plane {
            let max = (STRIP / o).saturating_sub(grid.reach).min(STRIP / c).clamp(256, 2048);
            let strip_width = strip(plane, max).next_multiple_of(row);
            tiles(y, [groups, c, plane], (c, strip_width), |mut tile| {
                let view = grid.view(tile.column..tile.column + tile.columns);
                let size = size(&view);
                with_scratch(o * size, |laid| {
                    for (i, target) in laid.chunks_exact_mut(size.max(1)).enumerate() {
                        lay(tile.group * o + i, &view, target);
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
                chunks(laid, size, |i, target| lay(group * o + i, &view, target));
                tiles(y, [1, c, plane], (rows(c), plane), |mut tile| {
                    tile.group = group;
                    product(&mut tile, &view, laid);
                });
            });
        }
    }
}

/// Returns the number of rows of a tile that has all positions.
fn rows(channels: usize) -> usize {
    channels.div_ceil(8).next_multiple_of(Packed::step())
}
