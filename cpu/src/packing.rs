//! Packing of a convolution's weight to panels: once if it is float32, else for each call, so that no copy of it stays in memory.

use std::borrow::Cow;

use super::conv::{Convolution, Direction, GroupSizes};
use super::gemm::{Matrix, Packed};
use super::grid::Grid;
use super::panels::PanelSet;
use super::parallel::{chunks, with_scratch};
use super::weights::{Elements, transformed, widen};

/// Elements that a thread widens at a time.
const WIDENED: usize = 1 << 14;

impl Convolution {
    /// Calls `f` with the panels: `[o, q]` for a convolution, `[c, o · taps]` by phase of the grid for an adjoint. Those of a weight
    /// in fewer bits are packed anew for each call.
    pub(super) fn with_panels<T>(&self, grid: Option<&Grid>, f: impl FnOnce(&PanelSet<'_>) -> T) -> T {
        if let Some(panels) = self.panels.0.get() {
            return f(panels);
        }
        let GroupSizes { o, c, q } = self.sizes();
        let count = self.taps.count();
        let phases: Vec<Vec<usize>> = match grid {
            Some(grid) => grid.phases.iter().map(|p| p.taps.iter().map(|(tap, _)| *tap).collect()).collect(),
            None => vec![(0..count).collect()],
        };
        let sizes = phases.iter().map(|taps| match self.direction {
            Direction::Forward => Packed::size(o, q),
            Direction::Adjoint => Packed::size(c, o * taps.len()),
        });
        let mut starts = vec![0];
        for size in sizes {
            starts.push(starts.last().copied().unwrap_or(0) + size);
        }
        let total = self.groups * starts.last().copied().unwrap_or(0);
        match self.weight.elements() {
            Elements::Floats(values) => {
                // No lock is held while the threads of the pool pack, since a waiting thread may take up another run of this plan.
                let mut data = vec![0.0; total];
                self.pack(values, &phases, &mut data);
                f(self.panels.0.get_or_init(|| PanelSet { data: data.into(), starts }))
            }
            Elements::Compact(values) => with_scratch(total, |data| {
                with_scratch(self.outputs * q, |floats| {
                    chunks(floats, WIDENED, |i, floats| widen(values, i * WIDENED, floats));
                    self.pack(floats, &phases, data);
                });
                f(&PanelSet { data: Cow::Borrowed(data), starts })
            }),
        }
    }

    /// Packs the weight `[o, q]` of each group to panels.
    fn pack(&self, weight: &[f32], phases: &[Vec<usize>], mut to: &mut [f32]) {
        let GroupSizes { o, c, q } = self.sizes();
        let (count, transform) = (self.taps.count(), self.weight.transform());
        for weight in weight.chunks_exact(o * q) {
            for taps in phases {
                let n = taps.len();
                let (rows, terms) = match self.direction {
                    Direction::Forward => (o, q),
                    Direction::Adjoint => (c, o * n),
                };
                let (panels, rest) = std::mem::take(&mut to).split_at_mut(Packed::size(rows, terms));
                to = rest;
                let matrix = Matrix { transform, ..Matrix::rows(weight, q) };
                match self.direction {
                    Direction::Forward => Packed::fill(matrix, rows, panels),
                    Direction::Adjoint if count == 1 && n == 1 => {
                        Packed::fill(matrix.transposed(), rows, panels);
                    }
                    Direction::Adjoint => Packed::fill_with(rows, panels, |i, t| {
                        transformed(transform, weight[t / n * q + i * count + taps[t % n]])
                    }),
                }
            }
        }
    }
}
