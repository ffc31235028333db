//! Elementwise selection.

use dlbc_ops::prim::Select;
use dlbc_ptx::kernel::pointwise::Term;

use super::contract::*;

impl CudaPrimitive for Select {
    fn plan(&self, p: &mut Planner, node: &mut NodeContext<'_, '_>) -> Result<LoweredValue, BackendError> {
        p.elementwise(node, &|_, x| Term::Select(x[0], x[1], x[2]))
    }
}
