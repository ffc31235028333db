//! Reshapes.

use dlbc_ops::prim::Reshape;
use dlbc_ops::tensor::Dim;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for Reshape {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        reshape(builder, operands.names[0], &operands.types[0].shape.0, &self.to.0)
    }
}

/// Reshapes `x` from `from` to `to`. Symbolic dimensions that stay at their axis become 0 and one other becomes -1, which ONNX
/// resolves itself.
pub(super) fn reshape(builder: &mut OnnxBuilder, x: &str, from: &[Dim], to: &[Dim]) -> Lowered {
    if to.iter().any(|d| d.is(0)) {
        let to = builder.vector(to)?;
        return Ok(builder.add("Reshape", &[x, &to], vec![attr_int("allowzero", 1)]));
    }
    let is_unchanged = |i: usize| to[i].as_known().is_none() && from.get(i) == Some(&to[i]);
    let inferred = (0..to.len()).rev().find(|i| to[*i].as_known().is_none() && !is_unchanged(*i));
    let entry = |i: usize| match i {
        _ if is_unchanged(i) => Dim::known(0),
        _ if Some(i) == inferred => Dim::known(-1),
        _ => to[i].clone(),
    };
    let to = builder.vector(&(0..to.len()).map(entry).collect::<Vec<_>>())?;
    Ok(builder.add("Reshape", &[x, &to], vec![]))
}
