//! Broadcasting.

use dlbc_ops::prim::Expand;

use super::contract::*;

impl CudaPrimitive for Expand {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Ok(LoweredValue::View(node.stored(p, 0).broadcast(&node.dims)))
    }
}
