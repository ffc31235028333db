//! Reshapes.

use dlbc_ops::prim::Reshape;

use super::contract::*;

impl CpuPrimitive for Reshape {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let dims = w.dims(at.v).into_iter().map(|d| ToDim::to_dim(&d)).collect();
        w.reshape(&at.name, at.input(w, 0), w.dims(at.operands[0]), dims).map(Some)
    }
}

impl Wiring<'_> {
    /// Adds a reshape of `x`.
    pub(super) fn reshape(
        &mut self,
        name: &str,
        x: OutletId,
        from: Vec<usize>,
        to: TVec<TDim>,
    ) -> TractResult<OutletId> {
        let from: TVec<TDim> = from.into_iter().map(|d| ToDim::to_dim(&d)).collect();
        // Common leading and trailing axes are left out, so that tract can move the reshape around.
        let lead = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        let limit = from.len().min(to.len()) - lead;
        let tail = from.iter().rev().zip(to.iter().rev()).take(limit).take_while(|(a, b)| a == b).count();
        let (from, to): (TVec<TDim>, TVec<TDim>) =
            (from[lead..from.len() - tail].into(), to[lead..to.len() - tail].into());
        if from.is_empty() && to.is_empty() {
            return Ok(x);
        }
        self.wire(name, AxisOp::Reshape(lead, from, to), &[x])
    }
}
