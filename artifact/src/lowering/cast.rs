//! Casts.

use dlbc_ops::prim::Cast;
use dlbc_proto::write::attr_int;

use super::contract::*;
use crate::onnx_builder::types::code;

impl OnnxLowering for Cast {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        Ok(builder.add(
            "Cast",
            &[operands.names[0]],
            vec![attr_int("to", i64::from(code(self.to).to_onnx()))],
        ))
    }
}
