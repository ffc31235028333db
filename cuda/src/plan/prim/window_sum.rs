//! Sums of windows and their adjoint.

use dlbc_ops::prim::{Window, WindowSum, WindowSumTranspose};
use dlbc_ptx::kernel::pool;

use super::super::windows::geometry;
use super::contract::*;

impl CudaPrimitive for WindowSum {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let x = at.dense(p, 0);
        Ok(Made::View(p.window_fold(&self.0, false, x, &at.dims)))
    }
}

impl CudaPrimitive for WindowSumTranspose {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let s = at.dense(p, 0);
        Ok(Made::View(p.window_spread(&self.window, s, &at.dims)))
    }
}

impl Planner {
    /// The sum over each window, or the maximum.
    pub(super) fn window_fold(&mut self, window: &Window, max: bool, x: View, dims: &[usize]) -> View {
        let params = geometry(window, &x.dims[2..], &dims[2..]);
        let out = self.buffer(x.kind, dims);
        self.window(pool::fold(x.kind, max), params, [Some(x), None, None, None], out)
    }

    /// The adjoint of the sum.
    fn window_spread(&mut self, window: &Window, s: View, dims: &[usize]) -> View {
        let params = geometry(window, &dims[2..], &s.dims[2..]);
        let out = self.buffer(s.kind, dims);
        self.window(pool::spread(s.kind), params, [Some(s), None, None, None], out)
    }
}
