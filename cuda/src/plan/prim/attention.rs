//! Attention, which `expand` takes apart before.

use dlbc_ops::prim::{Attention, AttentionShare};

use super::contract::*;

impl CudaPrimitive for Attention {
    fn plan(&self, _p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        Err(at.wrong("not taken apart"))
    }
}

impl CudaPrimitive for AttentionShare {
    fn plan(&self, _p: &mut Planner, at: &mut At<'_, '_>) -> Result<Made, BackendError> {
        Err(at.wrong("not taken apart"))
    }
}
