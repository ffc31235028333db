//! Broadcasts.

use dlbc_ops::prim::Expand;
use dlbc_ops::tensor::{Dim, Shape};

use super::contract::*;

impl OnnxLowering for Expand {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        expand(s, at.x[0], &at.types[0].shape, &self.to)
    }
}

/// The value `x` of shape `from` broadcast to another.
pub(super) fn expand(s: &mut OnnxBuilder, x: &str, from: &Shape, to: &Shape) -> Lowered {
    // 1 keeps a dimension.
    let lead = to.rank() - from.rank();
    let entry =
        |(i, d): (usize, &Dim)| if i >= lead && from.0[i - lead] == *d { Dim::known(1) } else { d.clone() };
    let to = s.vector(&to.0.iter().enumerate().map(entry).collect::<Vec<_>>())?;
    Ok(s.add("Expand", &[x, &to], vec![]))
}
