//! Conversion of element types.

use dlbc_ops::prim::Cast;
use dlbc_ops::tensor::DType;
use half::{bf16, f16};

use super::contract::*;
use crate::weights::datum;

impl CpuPrimitive for Cast {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        let x = at.input(w, 0);
        let from = w.graph.ty(w.graph.node_inputs(at.v.node)[0]).dtype;
        // The engine holds narrow floats as float32, so that the conversion to one has to round.
        if matches!(self.to, DType::F16 | DType::Bf16) && from != self.to {
            return Ok(None);
        }
        let same = w.model.outlet_fact(x)?.datum_type == datum(w.graph.ty(at.v).dtype);
        Ok(same.then_some(x))
    }

    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        let Some(v) = x.floats()? else { return Ok(None) };
        let round = |y: &mut [f32], f: fn(f32) -> f32| y.iter_mut().zip(v[0]).for_each(|(y, x)| *y = f(*x));
        match self.to {
            DType::F16 => x.result(|y| round(y, |x| f16::from_f32(x).to_f32())),
            DType::Bf16 => x.result(|y| round(y, |x| bf16::from_f32(x).to_f32())),
            _ => Ok(None),
        }
    }
}
