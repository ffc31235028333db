//! Elementwise functions of two operands.

use dlbc_ops::prim::Binary;
use tract_onnx::tract_core::ops;
use tract_onnx::tract_core::ops::change_axes::wire_with_rank_broadcast;

use super::contract::*;
use crate::loops;

impl CpuPrimitive for Binary {
    fn wire(&self, w: &mut Wiring<'_>, at: &At) -> TractResult<Option<OutletId>> {
        if !at.floats(w) {
            return Ok(None);
        }
        let op = match self {
            Binary::Add => ops::math::add(),
            Binary::Sub => ops::math::sub(),
            Binary::Mul => ops::math::mul(),
            Binary::Max => ops::math::max(),
            Binary::Min => ops::math::min(),
            Binary::Div | Binary::GuardedDiv | Binary::Pow | Binary::Mod | Binary::Equal => return Ok(None),
            Binary::Less | Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => return Ok(None),
        };
        let (name, inputs) = (w.unique(&at.name), at.inputs(w));
        Ok(Some(wire_with_rank_broadcast(name, &mut w.model, op, &inputs)?[0]))
    }

    fn fast(&self, x: &Operands<'_>) -> TractResult<Option<Tensor>> {
        match self {
            Binary::GuardedDiv => broadcast(x, loops::guarded_div),
            Binary::Div => broadcast(x, |a, b| a / b),
            Binary::Equal => compare(x, |a, b| a == b),
            Binary::Less => compare(x, |a, b| a < b),
            Binary::LessOrEqual => compare(x, |a, b| a <= b),
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Pow | Binary::Min | Binary::Max => Ok(None),
            Binary::Mod | Binary::And | Binary::Or | Binary::Xor => Ok(None),
        }
    }
}

/// Applies `f` to operands that broadcast.
fn broadcast(x: &Operands<'_>, f: fn(f32, f32) -> f32) -> TractResult<Option<Tensor>> {
    let Some(v) = x.floats()? else { return Ok(None) };
    x.result(|y| loops::broadcast(v[0], x.shape(0), v[1], x.shape(1), x.dims, f, y))
}

/// Compares operands that each have the shape of the result or a single element.
fn compare(x: &Operands<'_>, f: impl Fn(f32, f32) -> bool + Sync) -> TractResult<Option<Tensor>> {
    if !(x.are_whole_or_single() && x.is_float(0) && x.is_float(1)) {
        return Ok(None);
    }
    let mut y = Tensor::zero_dt(DatumType::Bool, x.dims)?;
    loops::compare(x.float(0)?, x.float(1)?, y.try_as_plain_ram_mut()?.as_slice_mut::<bool>()?, f);
    Ok(Some(y))
}
