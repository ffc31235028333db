//! Planes laid out on a grid where every tap of a window is a shift.
//!
//! At position `p`, tap `k` of a window with stride `s` and dilation `d` reads element `p·s + k·d - before`. Along an axis, grid
//! point `g` of phase `f` holds element `g·s + f - before`, or 0 beyond the operand; the phases are the remainders of `k·d` modulo
//! `s`. With `k·d = q·s + f`, tap `k` reads point `p + q` of phase `f`, which is a fixed distance from the position in memory,
//! whatever the rank. The grid is longer than the positions by the largest `q`. Along an axis that is short compared to its window,
//! each tap has a separate phase instead.

use std::collections::HashMap;
use std::ops::Range;

use dlbc_ops::prim::Window;

use super::gemm::copy;

/// The grid of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Phases that taps read.
    pub phases: Vec<Phase>,
    /// Phase and shift of each tap.
    pub taps: Vec<(usize, usize)>,
    /// Largest shift.
    pub reach: usize,
    /// First position of each row of positions, and its point.
    rows: Vec<(usize, usize)>,
    /// Positions per row.
    row_positions: usize,
    /// Number of points along each axis.
    dims: Vec<usize>,
    /// Stride of the operand between neighbouring points of the last axis, in elements.
    stride: usize,
}

/// A phase of the grid: the elements that taps of equal remainder read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Taps of the phase and their shifts.
    pub taps: Vec<(usize, usize)>,
    /// Elements along each axis.
    axes: Vec<Axis>,
}

/// Points of a phase along an axis that hold elements: point `points.start + i` holds the element at offset `first + i·step`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Axis {
    points: Range<usize>,
    first: usize,
    step: usize,
}

/// Consecutive points of a row and their elements, which are [`Grid::stride`] apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    element: usize,
    point: usize,
    len: usize,
}

/// A range of the operand's elements, the points that hold them, and the points of the positions that reach them.
#[derive(Clone, Debug)]
pub struct View {
    /// Points of each phase; empty if it has none of the elements.
    pub points: Vec<Range<usize>>,
    /// Points of the positions that reach the elements, plus [`Grid::reach`].
    pub lead: Range<usize>,
    elements: Range<usize>,
}

impl Grid {
    /// Builds the grid of a window from planes of `input` to planes of `output`. Along each axis it is at most `1 + max_spare` times as
    /// long as the positions.
    pub fn new(window: &Window, input: &[usize], output: &[usize], max_spare: f32) -> Grid {
        let rank = window.rank();
        let reach = |i: usize| (window.extent(i) - 1) / window.strides[i];
        let shared: Vec<bool> = (0..rank).map(|i| reach(i) as f32 <= max_spare * output[i] as f32).collect();
        let reach = |i: usize| if shared[i] { reach(i) } else { 0 };
        let mut dims: Vec<usize> = (0..rank).map(|i| output[i] + reach(i)).collect();
        // Distance of each tap. Along a shared axis, its remainder is the offset of the phase and its quotient the shift.
        let distances: Vec<Vec<usize>> = (0..window.kernel.iter().product())
            .map(|tap| index(tap, &window.kernel).iter().zip(&window.dilations).map(|(k, d)| k * d).collect())
            .collect();
        let offset = |distance: &[usize]| -> Vec<usize> {
            let along = |i: usize| if shared[i] { distance[i] % window.strides[i] } else { distance[i] };
            (0..rank).map(along).collect()
        };
        let (mut phases, mut phase_of) = (vec![], HashMap::new());
        for distance in &distances {
            phase_of.entry(offset(distance)).or_insert_with_key(|offset| {
                phases.push(Phase { taps: vec![], axes: axes(window, input, &dims, offset) });
                phases.len() - 1
            });
        }
        // The zeros after a row double as those before the next one.
        let last = rank - 1;
        let zeros = |p: &Phase| p.axes[last].points.start.min(dims[last] - p.axes[last].points.end);
        dims[last] -= phases.iter().map(zeros).min().unwrap_or(0).min(reach(last));
        let linear = |at: &dyn Fn(usize) -> usize| (0..rank).fold(0, |sum, i| sum * dims[i] + at(i));
        let mut taps = vec![];
        for (tap, distance) in distances.iter().enumerate() {
            let phase = phase_of[&offset(distance)];
            let shift = linear(&|i| if shared[i] { distance[i] / window.strides[i] } else { 0 });
            phases[phase].taps.push((tap, shift));
            taps.push((phase, shift));
        }
        let (row_positions, outer) = (output[last], &output[..last]);
        let first = |row: usize| {
            let at = index(row, outer);
            linear(&|i| at.get(i).copied().unwrap_or(0))
        };
        Grid {
            reach: linear(&reach),
            rows: (0..outer.iter().product()).map(|row| (row * row_positions, first(row))).collect(),
            row_positions,
            stride: window.strides[last],
            dims,
            phases,
            taps,
        }
    }

    /// Returns the point of a position.
    pub fn point(&self, position: usize) -> usize {
        self.rows[position / self.row_positions].1 + position % self.row_positions
    }

    /// Returns the points from the first to the last of a range of positions.
    pub fn points(&self, positions: &Range<usize>) -> Range<usize> {
        self.point(positions.start)..self.point(positions.end - 1) + 1
    }

    /// Calls `visit(position, point, len)` for the positions in a range of points, row by row.
    pub fn positions(&self, points: &Range<usize>, mut visit: impl FnMut(usize, usize, usize)) {
        let first = self.rows.partition_point(|(_, point)| point + self.row_positions <= points.start);
        for (position, point) in &self.rows[first..] {
            let (start, end) = (points.start.max(*point), points.end.min(point + self.row_positions));
            if start >= end {
                return;
            }
            visit(position + start - point, start, end - start);
        }
    }

    /// Lays out a phase of the operand's plane `x` at a range of points, and 0 to the end of `to`.
    pub fn lay(&self, phase: &Phase, x: &[f32], points: &Range<usize>, to: &mut [f32]) {
        let mut filled = 0;
        let row_points = self.dims[self.dims.len() - 1];
        let end = points.end.div_ceil(row_points).min(self.outer());
        for run in (points.start / row_points..end).filter_map(|row| self.run(phase, row)) {
            let (start, end) = (points.start.max(run.point), points.end.min(run.point + run.len));
            if start >= end {
                continue;
            }
            let from = run.element + (start - run.point) * self.stride;
            to[filled..start - points.start].fill(0.0);
            filled = end - points.start;
            let to = &mut to[start - points.start..filled];
            if self.stride == 1 {
                copy(&x[from..from + to.len()], to);
            } else {
                to.iter_mut().zip(x[from..].iter().step_by(self.stride)).for_each(|(t, v)| *t = *v);
            }
        }
        to[filled..].fill(0.0);
    }

    /// Lays out the plane `s` of positions at `lead` (see [`View`]), and 0 to the end of `to`.
    pub fn lay_positions(&self, s: &[f32], lead: &Range<usize>, to: &mut [f32]) {
        let mut filled = 0;
        let before = self.reach.saturating_sub(lead.start);
        let points = lead.start.saturating_sub(self.reach)..lead.end.saturating_sub(self.reach);
        self.positions(&points, |position, point, len| {
            let at = before + point - points.start;
            to[filled..at].fill(0.0);
            filled = at + len;
            copy(&s[position..position + len], &mut to[at..filled]);
        });
        to[filled..].fill(0.0);
    }

    /// Returns the view of a range of the operand's elements, which must end at the end of a row.
    pub fn view(&self, elements: Range<usize>) -> View {
        let points: Vec<Range<usize>> = self
            .phases
            .iter()
            .map(|phase| {
                let mut points: Option<Range<usize>> = None;
                self.runs(phase, &elements, |run| {
                    let start = points.as_ref().map_or(run.point, |points| points.start);
                    points = Some(start..run.point + run.len);
                });
                points.unwrap_or_default()
            })
            .collect();
        let nonempty = points.iter().filter(|points| !points.is_empty());
        let start = nonempty.clone().map(|points| points.start).min().unwrap_or(0);
        let end = nonempty.map(|points| points.end).max().unwrap_or(0);
        View { points, lead: start..end + self.reach, elements }
    }

    /// Adds the sums of a phase at the points of a view to the view's elements `x`.
    pub fn gather(&self, phase: usize, view: &View, sums: &[f32], x: &mut [f32]) {
        let first = view.points[phase].start;
        self.runs(&self.phases[phase], &view.elements, |run| {
            let sums = &sums[run.point - first..][..run.len];
            let x = &mut x[run.element - view.elements.start..];
            if self.stride == 1 {
                x.iter_mut().zip(sums).for_each(|(x, v)| *x += *v);
            } else {
                x.iter_mut().step_by(self.stride).zip(sums).for_each(|(x, v)| *x += *v);
            }
        });
    }

    /// Calls `visit` for the runs of a phase that hold elements of a range, in order.
    fn runs(&self, phase: &Phase, elements: &Range<usize>, mut visit: impl FnMut(Run)) {
        let runs = (0..self.outer()).filter_map(|row| self.run(phase, row));
        runs.filter(|run| elements.contains(&run.element)).for_each(&mut visit);
    }

    /// Returns the number of rows of points.
    fn outer(&self) -> usize {
        self.dims[..self.dims.len() - 1].iter().product()
    }

    /// Returns the run of a phase in a row of points, if it has elements there.
    fn run(&self, phase: &Phase, row: usize) -> Option<Run> {
        let (last, outer) = phase.axes.split_last()?;
        let (mut element, mut rest) = (last.first, row);
        for (axis, dim) in outer.iter().zip(&self.dims).rev() {
            let at = rest % dim;
            rest /= dim;
            if !axis.points.contains(&at) {
                return None;
            }
            element += axis.first + (at - axis.points.start) * axis.step;
        }
        let point = row * self.dims[outer.len()] + last.points.start;
        Some(Run { element, point, len: last.points.len() }).filter(|run| run.len > 0)
    }
}

/// Returns the axes of the phase at `offset`, over points of `dims`.
fn axes(w: &Window, input: &[usize], dims: &[usize], offset: &[usize]) -> Vec<Axis> {
    let mut inner = 1;
    let mut axes: Vec<Axis> = (0..dims.len())
        .rev()
        .map(|i| {
            let (stride, before) = (w.strides[i], w.before[i]);
            let low = before.saturating_sub(offset[i]).div_ceil(stride).min(dims[i]);
            let high = (input[i] + before).saturating_sub(offset[i]).div_ceil(stride).min(dims[i]);
            let first = (low * stride + offset[i]).saturating_sub(before) * inner;
            let axis = Axis { points: low..high.max(low), first, step: stride * inner };
            inner *= input[i];
            axis
        })
        .collect();
    axes.reverse();
    axes
}

/// Returns the coordinates of element `i` of `dims`.
fn index(mut i: usize, dims: &[usize]) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for (at, dim) in at.iter_mut().zip(dims).rev() {
        *at = i % dim;
        i /= dim;
    }
    at
}
