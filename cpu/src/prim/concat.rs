//! Concatenation.

use dlbc_ops::prim::Concat;
use tract_onnx::tract_core::ops;

use super::contract::*;

/// Maximum number of operands of a concatenation in tract; more are concatenated in groups.
const MANY_PARTS: usize = 64;

impl CpuPrimitive for Concat {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let mut parts = at.inputs(w);
        // tract orders nodes in time quadratic in the number of a node's operands.
        for level in 0.. {
            if parts.len() <= MANY_PARTS {
                break;
            }
            let groups = parts.chunks(MANY_PARTS).enumerate();
            parts = groups
                .map(|(i, group)| {
                    let name = format!("{}.parts.{level}.{i}", at.name);
                    w.wire(&name, ops::array::TypedConcat { axis: self.axis }, group)
                })
                .collect::<TractResult<_>>()?;
        }
        if parts.len() == 1 {
            return Ok(Some(parts[0]));
        }
        w.wire(&at.name, ops::array::TypedConcat { axis: self.axis }, &parts).map(Some)
    }
}
