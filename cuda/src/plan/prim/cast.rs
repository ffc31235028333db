//! Conversion of element types.

use dlbc_ops::prim::Cast;
use dlbc_ptx::kernel::pointwise::Term;

use super::super::chain::unchanged;
use super::contract::*;

impl CudaPrimitive for Cast {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        if unchanged(node.scope.graph.ty(node.inputs[0]).dtype, self.to) {
            return Ok(LoweredValue::View(node.stored(p, 0)));
        }
        p.elementwise(node, &|_, x| Term::Cast(self.to, x[0]))
    }
}
