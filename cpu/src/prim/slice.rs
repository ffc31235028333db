//! Slices along an axis and their adjoint.

use dlbc_ops::prim::{Slice, SliceTranspose};
use tract_onnx::tract_core::ops;

use super::contract::*;
use crate::loops;
use crate::wiring::known;

impl CpuPrimitive for Slice {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        if self.step != 1 {
            return Ok(None);
        }
        let (start, len) = (known(&self.start)?, known(&self.len)?);
        let op = ops::array::Slice::new(self.axis, start, start + len);
        w.wire(&at.name, op, &[at.input(w, 0)]).map(Some)
    }
}

impl CpuPrimitive for SliceTranspose {
    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let (axis, start) = (self.axis, self.start.as_known().unwrap_or(0));
        let inner = x.dims[axis + 1..].iter().product();
        let (from, to) = (x.shape(0)[axis], x.dims[axis]);
        x.result(|y| loops::slice_transpose(v[0], inner, from, to, start, self.step, y))
    }
}
