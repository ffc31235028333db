//! Broadcasts.

use dlbc_ops::prim::Expand;
use dlbc_ops::tensor::{Dim, Shape};

use super::contract::*;

impl OnnxLowering for Expand {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        expand(builder, operands.names[0], &operands.types[0].shape, &self.to)
    }
}

/// Broadcasts `x` of shape `from` to the shape `to`.
pub(super) fn expand(builder: &mut OnnxBuilder, x: &str, from: &Shape, to: &Shape) -> Lowered {
    // In the target of `Expand`, 1 keeps a dimension.
    let added_axes = to.rank() - from.rank();
    let entry = |(i, d): (usize, &Dim)| match i.checked_sub(added_axes) {
        Some(axis) if from.0[axis] == *d => Dim::known(1),
        _ => d.clone(),
    };
    let to = builder.vector(&to.0.iter().enumerate().map(entry).collect::<Vec<_>>())?;
    Ok(builder.add("Expand", &[x, &to], vec![]))
}
