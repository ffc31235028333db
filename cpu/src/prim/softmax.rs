//! Softmax.

use dlbc_ops::prim::Softmax;

use super::contract::*;
use crate::loops;

impl CpuPrimitive for Softmax {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let inner = x.dims[self.axis + 1..].iter().product();
        x.result(|y| loops::softmax(v[0], x.dims[self.axis], inner, y))
    }
}
