//! The largest elements.

use dlbc_ops::prim::TopK;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for TopK {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let k = s.vector(std::slice::from_ref(&self.k))?;
        let attributes =
            vec![attr_int("axis", self.axis as i64), attr_int("largest", i64::from(self.largest))];
        Ok(s.add_second("TopK", &[at.x[0], &k], attributes))
    }
}
