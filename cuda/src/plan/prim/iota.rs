//! Counting.

use dlbc_ops::prim::Iota;
use dlbc_ops::tensor::Tensor;

use super::contract::*;

impl CudaPrimitive for Iota {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let values: Vec<i64> = (0..node.dims[0] as i64).collect();
        Ok(LoweredValue::View(p.constant(&Tensor::from_i64(&node.dims, &values))))
    }
}
