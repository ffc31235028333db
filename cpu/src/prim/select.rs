//! Elementwise selection.

use dlbc_ops::prim::Select;

use super::contract::*;
use crate::loops;

impl CpuPrimitive for Select {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let condition = x.inputs[0].datum_type() == DatumType::Bool;
        if !(condition && x.is_float(1) && x.is_float(2)) {
            return Ok(None);
        }
        let plain = x.inputs[0].try_as_plain_ram()?;
        let (condition, a, b) = (plain.as_slice::<bool>()?, x.float(1)?, x.float(2)?);
        if x.are_whole_or_single() {
            return x.result(|y| loops::select(condition, a, b, y));
        }
        let (condition, a, b) = ((condition, x.shape(0)), (a, x.shape(1)), (b, x.shape(2)));
        x.result(|y| loops::select_broadcast(condition, a, b, x.dims, y))
    }
}
