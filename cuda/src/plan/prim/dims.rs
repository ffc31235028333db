//! Dimensions as data, which are constants once they are known.

use dlbc_ops::prim::Dims;

use super::contract::*;

impl CudaPrimitive for Dims {
    fn plan(&self, _p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Err(node.error("expected known dimensions"))
    }
}
