//! Maxima of windows and the shares of their relevance.

use dlbc_ops::prim::{Window, WindowMax, WindowMaxShare};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::pool;

use super::super::windows::geometry;
use super::contract::*;

impl CudaPrimitive for WindowMax {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let x = at.dense(p, 0);
        Ok(Made::View(p.window_fold(&self.0, true, x, &at.dims)))
    }
}

impl CudaPrimitive for WindowMaxShare {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let operands = [0, 1, 2].map(|i| at.dense(p, i));
        Ok(Made::View(p.window_share(&self.window, self.first, operands)))
    }
}

impl Planner {
    /// The reverse of the maximum, in two steps.
    fn window_share(&mut self, window: &Window, first: bool, [x, y, r]: [View; 3]) -> View {
        let params = geometry(window, &x.dims[2..], &y.dims[2..]);
        let kind = if first { Kind::B } else { Kind::F };
        let shares = self.buffer(kind, &y.dims);
        let given = if first { None } else { Some(r.clone()) };
        let shares =
            self.window(pool::shares(first), params, [Some(x.clone()), Some(y.clone()), given, None], shares);
        let out = self.buffer(Kind::F, &x.dims);
        let operands = if first {
            [Some(x), None, Some(r), Some(shares)]
        } else {
            [Some(x), Some(y), Some(shares), None]
        };
        self.window(pool::give(first), params, operands, out)
    }
}
