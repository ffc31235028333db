//! Windows over up to three spatial axes.

use dlbc_ops::prim::Window;
use dlbc_ptx::kernel::pool::{self, PoolParams};
use dlbc_ptx::{Kernel, Params as _};

use super::{Planner, Step, View};

/// Three spatial axes; those that do not exist are 1.
pub(super) fn three(values: &[usize], fill: usize) -> [u32; 3] {
    let lead = 3 - values.len().min(3);
    std::array::from_fn(|i| i.checked_sub(lead).map_or(fill, |i| values[i]) as u32)
}

/// The part of the parameters that the window decides.
pub(super) fn geometry(window: &Window, from: &[usize], to: &[usize]) -> PoolParams {
    PoolParams {
        taps: window.kernel.iter().product::<usize>() as u32,
        from: three(from, 1),
        to: three(to, 1),
        kernel: three(&window.kernel, 1),
        strides: three(&window.strides, 1),
        before: three(&window.before, 0),
        dilations: three(&window.dilations, 1),
        ..PoolParams::default()
    }
}

impl Planner {
    /// A launch of a kernel of windows.
    pub(super) fn window(
        &mut self,
        kernel: Kernel,
        params: PoolParams,
        operands: [Option<View>; 4],
        out: View,
    ) -> View {
        let count = out.elems() as u32;
        if count == 0 {
            return out;
        }
        let kernel = self.kernel(kernel.name.clone(), || kernel);
        let reads: Vec<View> = operands.iter().flatten().cloned().collect();
        let own = out.clone();
        let params = move |at: &super::Addresses| {
            let [x, y, r, winner] = [0, 1, 2, 3].map(|i| operands[i].as_ref().map_or(0, |v| at.of(v)));
            PoolParams { x, y, r, winner, out: at.of(&own), count, ..params }.bytes()
        };
        let grid = [pool::blocks(count), 1, 1];
        let writes = vec![out.clone()];
        self.push(Step { kernel, grid, params: Box::new(params), reads, writes, updates: vec![] });
        out
    }
}
