//! Dimensions as data, which are constants once they are known.

use dlbc_ops::prim::Dims;

use super::contract::*;

impl CudaPrimitive for Dims {
    fn plan(&self, _p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        Err(at.wrong("a dimension is not known"))
    }
}
