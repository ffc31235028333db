//! Softmax.

use dlbc_ops::prim::Softmax;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for Softmax {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        Ok(s.add("Softmax", &[at.x[0]], vec![attr_int("axis", self.axis as i64)]))
    }
}
