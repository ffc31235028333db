//! Planes on a grid where every tap of a window is a shift.
//!
//! At position `p` a window reads element `p·s + k·d - before`. Along an axis, grid point `g` of phase `f` holds element
//! `g·s + f - before`, or 0 beyond the operand; the phases are the remainders of `k·d` by `s`. With `k·d = q·s + f`, tap `k`
//! reads point `p + q` of phase `f`: in memory, a fixed distance from the position, whatever the rank. The grid is wider than
//! the positions by the greatest `q`. Along an axis that is short beside its window each tap has a phase of its own instead.

use std::collections::HashMap;
use std::ops::Range;

use dlbc_ops::prim::Window;

use super::gemm::copy;

/// A window on a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Phases that taps read.
    pub phases: Vec<Phase>,
    /// By tap: its phase and its shift.
    pub taps: Vec<(usize, usize)>,
    /// The greatest shift.
    pub reach: usize,
    /// Where the rows of positions begin: position, point.
    rows: Vec<(usize, usize)>,
    /// Positions of a row.
    wide: usize,
    /// Points by axis.
    dims: Vec<usize>,
    /// Elements of the operand from one point to the next, along the last axis.
    stride: usize,
}

/// What taps of equal remainder read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Tap and shift.
    pub taps: Vec<(usize, usize)>,
    /// By axis.
    axes: Vec<Axis>,
}

/// Where along an axis the points of a phase hold elements: point `low + i` holds the one at `first + i·step`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Axis {
    points: Range<usize>,
    /// Times the elements of a step along the axis.
    first: usize,
    step: usize,
}

/// Elements of the operand, a stride apart, at points in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    element: usize,
    point: usize,
    len: usize,
}

/// Some elements of the operand, with the points that they lie at and those whose positions reach them.
#[derive(Clone, Debug)]
pub struct View {
    /// By phase, its points; empty when it has none of the elements.
    pub points: Vec<Range<usize>>,
    /// What of the positions' points reaches them, counted from [`Grid::reach`] before the first.
    pub lead: Range<usize>,
    elements: Range<usize>,
}

impl Grid {
    /// The grid of a window from `input` to `output`. Along an axis it is at most `1 + most` times as long as the positions.
    pub fn new(window: &Window, input: &[usize], output: &[usize], most: f32) -> Grid {
        let rank = window.rank();
        let reach = |i: usize| (window.extent(i) - 1) / window.strides[i];
        let shared: Vec<bool> = (0..rank).map(|i| reach(i) as f32 <= most * output[i] as f32).collect();
        let reach = |i: usize| if shared[i] { reach(i) } else { 0 };
        let mut dims: Vec<usize> = (0..rank).map(|i| output[i] + reach(i)).collect();
        // What is added to the element of a point: of a whole distance along an axis, the rest is the shift.
        let distances: Vec<Vec<usize>> = (0..window.kernel.iter().product())
            .map(|tap| index(tap, &window.kernel).iter().zip(&window.dilations).map(|(k, d)| k * d).collect())
            .collect();
        let offset = |distance: &[usize]| -> Vec<usize> {
            let own = |i: usize| if shared[i] { distance[i] % window.strides[i] } else { distance[i] };
            (0..rank).map(own).collect()
        };
        let (mut phases, mut known) = (vec![], HashMap::new());
        for distance in &distances {
            known.entry(offset(distance)).or_insert_with_key(|offset| {
                phases.push(Phase { taps: vec![], axes: axes(window, input, &dims, offset) });
                phases.len() - 1
            });
        }
        // The zeros after a row are also those before the next one.
        let last = rank - 1;
        let zeros = |p: &Phase| p.axes[last].points.start.min(dims[last] - p.axes[last].points.end);
        dims[last] -= phases.iter().map(zeros).min().unwrap_or(0).min(reach(last));
        let linear = |at: &dyn Fn(usize) -> usize| (0..rank).fold(0, |sum, i| sum * dims[i] + at(i));
        let mut taps = vec![];
        for (tap, distance) in distances.iter().enumerate() {
            let phase = known[&offset(distance)];
            let shift = linear(&|i| if shared[i] { distance[i] / window.strides[i] } else { 0 });
            phases[phase].taps.push((tap, shift));
            taps.push((phase, shift));
        }
        let (wide, outer) = (output[last], &output[..last]);
        let first = |row: usize| {
            let at = index(row, outer);
            linear(&|i| at.get(i).copied().unwrap_or(0))
        };
        Grid {
            reach: linear(&reach),
            rows: (0..outer.iter().product()).map(|row| (row * wide, first(row))).collect(),
            wide,
            stride: window.strides[last],
            dims,
            phases,
            taps,
        }
    }

    /// The point of a position.
    pub fn point(&self, position: usize) -> usize {
        self.rows[position / self.wide].1 + position % self.wide
    }

    /// The points from the first of some positions to the last.
    pub fn points(&self, positions: &Range<usize>) -> Range<usize> {
        self.point(positions.start)..self.point(positions.end - 1) + 1
    }

    /// Calls `visit(position, point, len)` for the positions at some points, row by row.
    pub fn positions(&self, points: &Range<usize>, mut visit: impl FnMut(usize, usize, usize)) {
        let first = self.rows.partition_point(|(_, point)| point + self.wide <= points.start);
        for (position, point) in &self.rows[first..] {
            let (start, end) = (points.start.max(*point), points.end.min(point + self.wide));
            if start >= end {
                return;
            }
            visit(position + start - point, start, end - start);
        }
    }

    /// Lays the operand's plane `x` out: a phase at some points, and 0 to the end of `to`.
    pub fn lay(&self, phase: &Phase, x: &[f32], points: &Range<usize>, to: &mut [f32]) {
        let mut done = 0;
        let wide = self.dims[self.dims.len() - 1];
        let end = points.end.div_ceil(wide).min(self.outer());
        for run in (points.start / wide..end).filter_map(|row| self.run(phase, row)) {
            let (start, end) = (points.start.max(run.point), points.end.min(run.point + run.len));
            if start >= end {
                continue;
            }
            let from = run.element + (start - run.point) * self.stride;
            to[done..start - points.start].fill(0.0);
            done = end - points.start;
            let to = &mut to[start - points.start..done];
            if self.stride == 1 {
                copy(&x[from..from + to.len()], to);
            } else {
                to.iter_mut().zip(x[from..].iter().step_by(self.stride)).for_each(|(t, v)| *t = *v);
            }
        }
        to[done..].fill(0.0);
    }

    /// Lays the positions' plane `s` out at `lead` (see [`View`]), and 0 to the end of `to`.
    pub fn lay_positions(&self, s: &[f32], lead: &Range<usize>, to: &mut [f32]) {
        let mut done = 0;
        let before = self.reach.saturating_sub(lead.start);
        let points = lead.start.saturating_sub(self.reach)..lead.end.saturating_sub(self.reach);
        self.positions(&points, |position, point, len| {
            let at = before + point - points.start;
            to[done..at].fill(0.0);
            done = at + len;
            copy(&s[position..position + len], &mut to[at..done]);
        });
        to[done..].fill(0.0);
    }

    /// A view of some elements of the operand, which do not end within a row.
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
        let held = points.iter().filter(|points| !points.is_empty());
        let start = held.clone().map(|points| points.start).min().unwrap_or(0);
        let end = held.map(|points| points.end).max().unwrap_or(0);
        View { points, lead: start..end + self.reach, elements }
    }

    /// Adds `sums`, of a phase at the points of a view, to the view's elements `x`.
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

    /// Calls `visit` for the runs of a phase with some elements, in order.
    fn runs(&self, phase: &Phase, elements: &Range<usize>, mut visit: impl FnMut(Run)) {
        let runs = (0..self.outer()).filter_map(|row| self.run(phase, row));
        runs.filter(|run| elements.contains(&run.element)).for_each(&mut visit);
    }

    /// Rows of points.
    fn outer(&self) -> usize {
        self.dims[..self.dims.len() - 1].iter().product()
    }

    /// The run of a phase in a row of points, when there is one.
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

/// The axes of the phase at `offset`, over points of `dims`.
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

/// The index of element `i` of `dims`.
fn index(mut i: usize, dims: &[usize]) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for (at, dim) in at.iter_mut().zip(dims).rev() {
        *at = i % dim;
        i /= dim;
    }
    at
}
