//! Transposition.

use dlbc_ops::prim::Transpose;

use super::contract::*;
use crate::onnx_builder::types::sizes;

impl OnnxLowering for Transpose {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        Ok(s.add("Transpose", &[at.x[0]], vec![sizes("perm", &self.perm)]))
    }
}
