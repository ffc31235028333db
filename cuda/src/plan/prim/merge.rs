//! The choice between two branches and its adjoint.

use dlbc_ops::prim::{Merge, MergeTranspose};

use super::contract::*;

impl CudaPrimitive for Merge {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        Ok(Made::View(at.view(p, usize::from(self.condition.is(0)))))
    }
}

impl CudaPrimitive for MergeTranspose {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let r = at.view(p, 0);
        if self.condition.is(0) == self.second {
            return Ok(Made::View(r));
        }
        // The branch was not taken: it has no relevance.
        Ok(Made::View(p.emit(&Expression::fill(&at.dims, r.kind))))
    }
}
