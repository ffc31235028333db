//! Ranges.

use dlbc_ops::prim::Iota;
use dlbc_ops::tensor::Tensor;

use super::contract::*;

impl OnnxLowering for Iota {
    fn lower(&self, builder: &mut OnnxBuilder, _: &Operands) -> Lowered {
        let mut scalar = |v: i64| builder.constant(&Tensor::from_i64(&[], &[v]));
        let (zero, unit) = (scalar(0), scalar(1));
        let len = match self.len.as_known() {
            Some(len) => scalar(len),
            None => {
                let vector = builder.vector(std::slice::from_ref(&self.len))?;
                builder.add("Squeeze", &[&vector], vec![])
            }
        };
        Ok(builder.add("Range", &[&zero, &len, &unit], vec![]))
    }
}
