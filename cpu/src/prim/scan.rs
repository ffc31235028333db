//! Recurrences over time.

use dlbc_ops::graph::Value;
use dlbc_ops::prim::Scan;
use dlbc_ops::tensor::Tensor as Constant;

use super::contract::*;
use crate::scan::Recurrence;

impl CpuPrimitive for Scan {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let first_capture = 1 + self.sequences;
        let constant = |(k, o): (usize, &Value)| if k < first_capture { None } else { w.constant(*o) };
        let constants: Vec<Option<Constant>> = at.operands.iter().enumerate().map(constant).collect();
        let computed = at.operands.iter().zip(&constants).filter(|(_, c)| c.is_none());
        let inputs: Vec<OutletId> = computed.map(|(o, _)| w.values[o]).collect();
        let op = Recurrence::new(self, &constants, w.dims(at.v))?;
        w.wire(&at.name, op, &inputs).map(Some)
    }
}
