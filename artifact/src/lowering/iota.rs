//! Ranges.

use dlbc_ops::prim::Iota;
use dlbc_ops::tensor::Tensor;

use super::contract::*;

impl OnnxLowering for Iota {
    fn lower(&self, s: &mut OnnxBuilder, _: &Operands) -> Lowered {
        let mut scalar = |v: i64| s.constant(&Tensor::from_i64(&[], &[v]));
        let (zero, one) = (scalar(0), scalar(1));
        let len = match self.len.as_known() {
            Some(len) => scalar(len),
            None => {
                let vector = s.vector(std::slice::from_ref(&self.len))?;
                s.add("Squeeze", &[&vector], vec![])
            }
        };
        Ok(s.add("Range", &[&zero, &len, &one], vec![]))
    }
}
