//! Maxima of windows and the distribution of their relevance.

use dlbc_ops::prim::{Window, WindowMax, WindowMaxShare};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::kernel::pool::{self, Fold, Ties};

use super::super::windows::geometry;
use super::contract::*;

impl CudaPrimitive for WindowMax {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let x = node.contiguous(p, 0);
        Ok(LoweredValue::View(p.window_fold(&self.0, Fold::Max, x, &node.dims)))
    }
}

impl CudaPrimitive for WindowMaxShare {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let operands = [0, 1, 2].map(|i| node.contiguous(p, i));
        let ties = if self.first { Ties::First } else { Ties::Split };
        Ok(LoweredValue::View(p.window_share(&self.window, ties, operands)))
    }
}

impl Planner {
    /// Distributes the relevance `r` of the maxima `y` over the elements of `x`, in two launches.
    fn window_share(&mut self, window: &Window, ties: Ties, [x, y, r]: [View; 3]) -> View {
        let first = ties == Ties::First;
        let params = geometry(window, &x.dims[2..], &y.dims[2..]);
        let kind = if first { Kind::B } else { Kind::F };
        let shares = self.buffer(kind, &y.dims);
        let relevance = if first { None } else { Some(r.clone()) };
        let operands = [Some(x.clone()), Some(y.clone()), relevance, None];
        let shares = self.launch_window(pool::shares(ties), params, operands, shares);
        let out = self.buffer(Kind::F, &x.dims);
        let operands = if first {
            [Some(x), None, Some(r), Some(shares)]
        } else {
            [Some(x), Some(y), Some(shares), None]
        };
        self.launch_window(pool::give(ties), params, operands, out)
    }
}
