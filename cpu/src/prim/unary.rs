//! Elementwise functions of one operand.

use dlbc_ops::prim::Unary;
use tract_onnx::tract_core::ops;

use super::contract::*;

impl CpuPrimitive for Unary {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        if !at.floats(w) {
            return Ok(None);
        }
        let op: Box<dyn TypedOp> = match self {
            Unary::Exp => ops::math::exp().into(),
            Unary::Tanh => ops::math::tanh().into(),
            Unary::Sigmoid => ops::nn::sigmoid().into(),
            Unary::Erf => ops::math::erf().into(),
            Unary::Abs | Unary::Neg | Unary::Sign | Unary::Log | Unary::Sqrt | Unary::Reciprocal => {
                return Ok(None);
            }
            Unary::Relu | Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::HardSigmoid { .. } => {
                return Ok(None);
            }
            Unary::HardSwish | Unary::Softplus | Unary::Softsign | Unary::Clip { .. } => return Ok(None),
            Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sin | Unary::Cos | Unary::Not => {
                return Ok(None);
            }
        };
        w.wire(&at.name, op, &[at.input(w, 0)]).map(Some)
    }
}
