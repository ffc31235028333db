//! Matrix products.

use dlbc_ops::prim::MatMul;

use super::contract::*;

impl CudaPrimitive for MatMul {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let [(a, a_transform), (b, b_transform)] =
            [(0, self.a), (1, self.b)].map(|(i, transform)| node.product_operand(p, i, transform));
        let e = p.product([a, b], [a_transform, b_transform], [self.ta, self.tb], &node.dims);
        Ok(node.fuse_or_store(p, e))
    }
}
