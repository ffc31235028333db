//! Matrix products.

use dlbc_ops::prim::MatMul;

use super::contract::*;

impl CudaPrimitive for MatMul {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        let [a, b] = [(0, self.a), (1, self.b)].map(|(i, part)| at.part(p, i, part));
        let e = p.product([a.0, b.0], [a.1, b.1], [self.ta, self.tb], &at.dims);
        Ok(at.made(p, e))
    }
}
