//! Choice by element.

use dlbc_ops::prim::Select;
use dlbc_ptx::kernel::pointwise::Term;

use super::contract::*;

impl CudaPrimitive for Select {
    fn plan(&self, p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        p.elementwise(at, &|_, x| Term::Select(x[0], x[1], x[2]))
    }
}
