//! Matrix products of two computed values.

use dlbc_ops::prim::MatMul;
use tract_onnx::tract_core::ops;
use tract_onnx::tract_core::ops::change_axes::wire_rank_broadcast;

use super::contract::*;

impl CpuPrimitive for MatMul {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let inputs = [w.transformed(at.operands[0], self.a)?, w.transformed(at.operands[1], self.b)?];
        let unique = w.unique(&at.name);
        let inputs = wire_rank_broadcast(unique, &mut w.model, &inputs)?;
        let rank = w.model.outlet_fact(inputs[0])?.rank();
        // Batch axes are a, b, …; then m, k, n.
        let batch: String = ('a'..='j').take(rank - 2).collect();
        let (a, b) = (if self.ta { "km" } else { "mk" }, if self.tb { "nk" } else { "kn" });
        let axes = format!("{batch}{a},{batch}{b}->{batch}mn");
        let op = ops::einsum::EinSum { axes: axes.parse()?, operating_dt: DatumType::F32, q_params: None };
        w.wire(&at.name, op, &inputs).map(Some)
    }
}
