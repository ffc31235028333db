//! Broadcasting.

use dlbc_ops::prim::Expand;
use tract_onnx::tract_core::ops;

use super::contract::*;

impl CpuPrimitive for Expand {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let dims = w.dims(at.v);
        let mut aligned = at.input(w, 0);
        for i in w.dims(at.operands[0]).len()..dims.len() {
            aligned = w.wire(&format!("{}.axis.{i}", at.name), AxisOp::Add(0), &[aligned])?;
        }
        let shape = ShapeFact::from_dims(dims);
        w.wire(&at.name, ops::array::MultiBroadcastTo { shape }, &[aligned]).map(Some)
    }
}
