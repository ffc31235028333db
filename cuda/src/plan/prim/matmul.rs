//! Matrix products.

use dlbc_ops::prim::{MatMul, Transform};

use super::super::partner::with_partner;
use super::contract::*;

impl CudaPrimitive for MatMul {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        let [(a, a_transform), (b, b_transform)] =
            [(0, self.a), (1, self.b)].map(|(i, transform)| node.product_operand(p, i, transform));
        // The kernel applies the node's transform, or that of an operand which is not stored.
        let inner = [(self.a, a_transform), (self.b, b_transform)];
        let inner = inner.map(|(outer, both)| if outer == Transform::Id { both } else { Transform::Id });
        let dims = node.dims.clone();
        let transforms = [a_transform, b_transform];
        let mut complete = |p: &mut Planner, product| with_partner(p, node, product, inner);
        let e = p.product_with([a, b], transforms, [self.ta, self.tb], &dims, &mut complete);
        Ok(node.fuse_or_store(p, e))
    }
}
