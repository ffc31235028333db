//! Reshapes.

use dlbc_ops::prim::Reshape;
use dlbc_ops::tensor::Dim;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for Reshape {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        reshape(s, at.x[0], &at.types[0].shape.0, &self.to.0)
    }
}

/// The same elements under another shape. A dimension that stays where it is is kept, one other is left to be found out.
pub(super) fn reshape(s: &mut OnnxBuilder, x: &str, from: &[Dim], to: &[Dim]) -> Lowered {
    if to.iter().any(|d| d.is(0)) {
        let to = s.vector(to)?;
        return Ok(s.add("Reshape", &[x, &to], vec![attr_int("allowzero", 1)]));
    }
    let kept = |i: usize| to[i].as_known().is_none() && from.get(i) == Some(&to[i]);
    let found = (0..to.len()).rev().find(|i| to[*i].as_known().is_none() && !kept(*i));
    let entry = |i: usize| match i {
        _ if kept(i) => Dim::known(0),
        _ if Some(i) == found => Dim::known(-1),
        _ => to[i].clone(),
    };
    let to = s.vector(&(0..to.len()).map(entry).collect::<Vec<_>>())?;
    Ok(s.add("Reshape", &[x, &to], vec![]))
}
