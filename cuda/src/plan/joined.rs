//! Launches of one kernel that do not depend on one another, such as the products of one value with several weights: they are
//! joined to one launch, side by side.

use std::collections::HashSet;

use dlbc_ptx::Kernel;
use dlbc_ptx::kernel::side_by_side::{MAX_LAUNCHES, block_stride, side_by_side};

use super::grid::MAX_BLOCKS;
use super::{Addresses, Planner, SETUP, Step, View};

/// Number of later launches among which partners are sought.
const WINDOW: usize = 32;
/// Maximum number of blocks of a launch that is joined: more fill the device by themselves.
const MANY_BLOCKS: u32 = 4 * 132;

/// Buffers that a launch accesses.
struct Accesses {
    reads: HashSet<usize>,
    writes: HashSet<usize>,
}

impl Accesses {
    fn new(step: &Step) -> Accesses {
        let buffers = |views: &[View]| -> Vec<usize> { views.iter().map(|v| v.buffer).collect() };
        let updates = buffers(&step.updates);
        Accesses {
            reads: buffers(&step.reads).into_iter().chain(updates.iter().copied()).collect(),
            writes: buffers(&step.writes).into_iter().chain(updates).collect(),
        }
    }

    /// Returns whether the order of two launches matters.
    fn depends_on(&self, other: &Accesses) -> bool {
        !self.reads.is_disjoint(&other.writes)
            || !self.writes.is_disjoint(&other.writes)
            || !self.writes.is_disjoint(&other.reads)
    }
}

impl Planner {
    /// Joins launches of forward and reverse. Stages with loops keep their launches.
    pub(super) fn join_launches(&mut self) {
        for stage in (0..self.stages.len()).filter(|stage| *stage != SETUP) {
            if self.stages[stage].loops.is_empty() {
                self.join_launches_of(stage);
            }
        }
    }

    fn join_launches_of(&mut self, stage: usize) {
        let steps = std::mem::take(&mut self.stages[stage].steps);
        let accesses: Vec<Accesses> = steps.iter().map(Accesses::new).collect();
        let mut steps: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
        let mut joined = vec![];
        for i in 0..steps.len() {
            let Some(first) = steps[i].take() else { continue };
            let mut partners = vec![];
            for j in i + 1..steps.len().min(i + WINDOW) {
                let Some(other) = &steps[j] else { continue };
                let same = (other.kernel, other.grid) == (first.kernel, first.grid);
                // Launches that have been joined to earlier ones come before this one in any case.
                let between = (i..j).filter(|k| *k == i || steps[*k].is_some() || partners.contains(k));
                if same
                    && is_joinable(&first)
                    && other.updates.is_empty()
                    && partners.len() + 1 < MAX_LAUNCHES
                    && !between.into_iter().any(|k| accesses[j].depends_on(&accesses[k]))
                {
                    partners.push(j);
                }
            }
            let kernel = &self.kernels[first.kernel];
            let kernel = match partners.len() {
                0 => None,
                count => side_by_side(kernel, count + 1),
            };
            joined.push(match kernel {
                None => first,
                Some(kernel) => {
                    let others = partners.iter().filter_map(|j| steps[*j].take()).collect();
                    self.side_by_side(kernel, first, others)
                }
            });
        }
        self.stages[stage].steps = joined;
    }

    /// Joins launches to one of `kernel`. The results of all live from the first on.
    fn side_by_side(&mut self, kernel: Kernel, first: Step, others: Vec<Step>) -> Step {
        let grid = [first.grid[0], first.grid[1], first.grid[2] * (others.len() as u32 + 1)];
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let clock = first.writes.iter().map(|v| self.buffers[v.buffer].first).min().unwrap_or(0);
        let mut step = Step { kernel, grid, ..first };
        let mut blocks = vec![step.params];
        for other in others {
            for view in &other.writes {
                let buffer = &mut self.buffers[view.buffer];
                buffer.first = buffer.first.min(clock);
            }
            step.reads.extend(other.reads);
            step.writes.extend(other.writes);
            blocks.push(other.params);
        }
        step.params = Box::new(move |at: &Addresses| {
            let mut all = vec![];
            for params in &blocks {
                let mut params = params(at);
                params.resize(block_stride(params.len()), 0);
                all.extend(params);
            }
            all
        });
        step
    }
}

/// Returns whether a launch can be one of several.
fn is_joinable(step: &Step) -> bool {
    let blocks: u32 = step.grid.iter().product();
    let fits = step.grid[2] <= MAX_BLOCKS / MAX_LAUNCHES as u32;
    step.updates.is_empty() && blocks <= MANY_BLOCKS && fits
}
