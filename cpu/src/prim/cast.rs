//! Conversion of element types.

use dlbc_ops::prim::Cast;

use super::contract::*;
use crate::weights::datum;

impl CpuPrimitive for Cast {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let x = at.input(w, 0);
        let same = w.model.outlet_fact(x)?.datum_type == datum(w.graph.ty(at.v).dtype);
        Ok(same.then_some(x))
    }
}
