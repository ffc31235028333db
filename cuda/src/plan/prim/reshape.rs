//! Reshapes.

use dlbc_ops::prim::Reshape;

use super::contract::*;

impl CudaPrimitive for Reshape {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        if let Some(LoweredValue::Expression(e)) = node.scope.values.get(&node.inputs[0])
            && let Some(e) = e.reshaped(&node.dims)
        {
            return Ok(node.fuse_or_store(p, e));
        }
        let x = node.stored(p, 0);
        Ok(LoweredValue::View(match x.reshaped(&node.dims) {
            Some(view) => view,
            None => p.contiguous(&x).with_dims(&node.dims),
        }))
    }
}
