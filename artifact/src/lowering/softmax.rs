//! Softmax.

use dlbc_ops::prim::Softmax;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for Softmax {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        Ok(builder.add("Softmax", &[operands.names[0]], vec![attr_int("axis", self.axis as i64)]))
    }
}
