//! Selection of one of two branches and its adjoint.

use dlbc_ops::prim::{Merge, MergeTranspose};

use super::contract::*;

impl CudaPrimitive for Merge {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Ok(LoweredValue::View(node.view(p, usize::from(self.condition.is(0)))))
    }
}

impl CudaPrimitive for MergeTranspose {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let r = node.view(p, 0);
        if self.condition.is(0) == self.second {
            return Ok(LoweredValue::View(r));
        }
        // The branch did not run, so its relevance is 0.
        Ok(LoweredValue::View(p.emit(&Expression::zeros(&node.dims, r.kind))))
    }
}
