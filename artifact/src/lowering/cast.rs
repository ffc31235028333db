//! Casts.

use dlbc_ops::prim::Cast;
use dlbc_proto::write::attr_int;

use super::contract::*;
use crate::onnx_builder::types::code;

impl OnnxLowering for Cast {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        Ok(s.add("Cast", &[at.x[0]], vec![attr_int("to", i64::from(code(self.to).to_onnx()))]))
    }
}
