//! Concatenation.

use dlbc_ops::prim::Concat;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for Concat {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        Ok(s.add("Concat", at.x, vec![attr_int("axis", self.axis as i64)]))
    }
}
