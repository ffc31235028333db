//! Indices of the largest elements.

use dlbc_ops::prim::TopK;
use dlbc_proto::write::attr_int;

use super::contract::*;

impl OnnxLowering for TopK {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let k = builder.vector(std::slice::from_ref(&self.k))?;
        let attributes =
            vec![attr_int("axis", self.axis as i64), attr_int("largest", i64::from(self.largest))];
        Ok(builder.add_second("TopK", &[operands.names[0], &k], attributes))
    }
}
