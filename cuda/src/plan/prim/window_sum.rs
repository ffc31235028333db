//! Sums of windows and the adjoint.

use dlbc_ops::prim::{Window, WindowSum, WindowSumTranspose};
use dlbc_ptx::kernel::pool::{self, Fold};

use super::super::windows::geometry;
use super::contract::*;

impl CudaPrimitive for WindowSum {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.contiguous(p, 0);
        Ok(LoweredValue::View(p.window_fold(&self.0, Fold::Sum, x, &node.dims)))
    }
}

impl CudaPrimitive for WindowSumTranspose {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let s = node.contiguous(p, 0);
        Ok(LoweredValue::View(p.window_spread(&self.window, s, &node.dims)))
    }
}

impl Planner {
    /// Reduces each window to its sum or its maximum.
    pub(super) fn window_fold(&mut self, window: &Window, fold: Fold, x: View, dims: &[usize]) -> View {
        let params = geometry(window, &x.dims[2..], &dims[2..]);
        let out = self.buffer(x.kind, dims);
        self.launch_window(pool::fold(x.kind, fold), params, [Some(x), None, None, None], out)
    }

    /// Computes the adjoint of the window sum.
    fn window_spread(&mut self, window: &Window, s: View, dims: &[usize]) -> View {
        let params = geometry(window, &dims[2..], &s.dims[2..]);
        let out = self.buffer(s.kind, dims);
        self.launch_window(pool::spread(s.kind), params, [Some(s), None, None, None], out)
    }
}
