//! Permutation of axes.

use dlbc_ops::prim::Transpose;

use super::contract::*;

impl CudaPrimitive for Transpose {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Ok(LoweredValue::View(node.stored(p, 0).transposed(&self.perm)))
    }
}
