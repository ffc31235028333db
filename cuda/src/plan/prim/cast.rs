//! Conversion of element types.

use dlbc_ops::prim::Cast;
use dlbc_ptx::kernel::pointwise::Term;

use super::super::chain::unchanged;
use super::contract::*;

impl CudaPrimitive for Cast {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        if unchanged(at.scope.graph.ty(at.inputs[0]).dtype, self.to) {
            return Ok(Made::View(at.view(p, 0)));
        }
        p.elementwise(at, &|_, x| Term::Cast(self.to, x[0]))
    }
}
