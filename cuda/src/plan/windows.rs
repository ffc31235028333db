//! Pooling over up to three spatial axes.

use dlbc_ops::prim::Window;
use dlbc_ptx::kernel::pool::{self, PoolParams};
use dlbc_ptx::{Kernel, Params as _};

use super::{Planner, Step, View};

/// Extends the values of spatial axes to three, with `fill` in front.
pub(super) fn three_axes(values: &[usize], fill: usize) -> [u32; 3] {
    let lead = 3 - values.len().min(3);
    std::array::from_fn(|i| i.checked_sub(lead).map_or(fill, |i| values[i]) as u32)
}

/// Returns the parameters that describe the windows.
pub(super) fn geometry(window: &Window, in_dims: &[usize], out_dims: &[usize]) -> PoolParams {
    PoolParams {
        taps: window.kernel.iter().product::<usize>() as u32,
        in_dims: three_axes(in_dims, 1),
        out_dims: three_axes(out_dims, 1),
        kernel: three_axes(&window.kernel, 1),
        strides: three_axes(&window.strides, 1),
        before: three_axes(&window.before, 0),
        dilations: three_axes(&window.dilations, 1),
        ..PoolParams::default()
    }
}

impl Planner {
    /// Launches a pooling kernel into `out`. The operands are the parameters `x`, `y`, `r` and `winner`.
    pub(super) fn launch_window(
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
        let target = out.clone();
        let params = move |at: &super::Addresses| {
            let [x, y, r, winner] =
                [0, 1, 2, 3].map(|i| operands[i].as_ref().map_or(0, |v| at.address_of(v)));
            PoolParams { x, y, r, winner, out: at.address_of(&target), count, ..params }.bytes()
        };
        let grid = [pool::blocks(count), 1, 1];
        let writes = vec![out.clone()];
        self.push(Step { kernel, grid, params: Box::new(params), reads, writes, updates: vec![] });
        out
    }
}
