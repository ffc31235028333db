//! Transposition.

use dlbc_ops::prim::Transpose;

use super::contract::*;
use crate::onnx_builder::types::sizes;

impl OnnxLowering for Transpose {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        Ok(builder.add("Transpose", &[operands.names[0]], vec![sizes("perm", &self.perm)]))
    }
}
