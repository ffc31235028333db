//! Trees, which `expand` has replaced by other primitives.

use dlbc_ops::prim::TreeLeaves;

use super::contract::*;

impl CudaPrimitive for TreeLeaves {
    fn plan(&self, _p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Err(node.error("expected the look-ups and comparisons that it stands for"))
    }
}
