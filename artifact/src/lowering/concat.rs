//! Concatenation.

use dlbc_ops::prim::Concat;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for Concat {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        Ok(builder.add("Concat", operands.names, vec![attr_int("axis", self.axis as i64)]))
    }
}
