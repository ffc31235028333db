//! Permutation of axes.

use dlbc_ops::prim::Transpose;

use super::contract::*;

impl CudaPrimitive for Transpose {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        Ok(Made::View(at.view(p, 0).transposed(&self.perm)))
    }
}
