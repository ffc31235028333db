//! Attention, which `expand` has replaced by other primitives.

use dlbc_ops::prim::{Attention, AttentionShare};

use super::contract::*;

impl CudaPrimitive for Attention {
    fn plan(&self, _p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Err(node.error("expected the products and softmax that it stands for"))
    }
}

impl CudaPrimitive for AttentionShare {
    fn plan(&self, _p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        Err(node.error("expected the products and softmax that it stands for"))
    }
}
