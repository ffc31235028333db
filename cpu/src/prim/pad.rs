//! Padding.

use dlbc_ops::prim::{Pad, PadMode};
use tract_onnx::tract_core::ops;

use super::contract::*;
use crate::wiring::known;

impl CpuPrimitive for Pad {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let PadMode::Constant(value) = self.mode else { return Ok(None) };
        if !at.floats(w) {
            return Ok(None);
        }
        let pads = self.before.iter().zip(&self.after).map(|(b, a)| Ok((known(b)?, known(a)?)));
        let pads = pads.collect::<TractResult<Vec<_>>>()?;
        let mode = ops::array::PadMode::Constant(tensor0(value).into_arc_tensor());
        w.wire(&at.name, ops::array::Pad { pads, mode }, &[at.input(w, 0)]).map(Some)
    }
}
