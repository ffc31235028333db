//! Matrix products.

use dlbc_ops::prim::{MatMul, Transform};
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::part::part;
use crate::onnx_builder::types::sizes;

impl OnnxLowering for MatMul {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let left = part(s, at.x[0], self.a, at.types[0].dtype);
        let right = part(s, at.x[1], self.b, at.types[1].dtype);
        let plain = at.types.iter().all(|t| t.rank() == 2 && t.dtype.is_float());
        if plain && (self.ta || self.tb) {
            let swaps = vec![attr_int("transA", i64::from(self.ta)), attr_int("transB", i64::from(self.tb))];
            return Ok(s.add("Gemm", &[&left, &right], swaps));
        }
        let left = swapped(s, left, self.ta, at.types[0].rank());
        let right = swapped(s, right, self.tb, at.types[1].rank());
        Ok(s.add("MatMul", &[&left, &right], vec![]))
    }

    fn parts(&self) -> Vec<Transform> {
        vec![self.a, self.b]
    }
}

fn swapped(s: &mut OnnxBuilder, x: String, swap: bool, rank: usize) -> String {
    if !swap {
        return x;
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    s.add_cached("Transpose", &[&x], vec![sizes("perm", &perm)])
}
