//! Matrix products.

use dlbc_ops::prim::{MatMul, Transform};
use dlbc_proto::write::attr_int;

use super::contract::*;
use super::transform::transform;
use crate::onnx_builder::types::sizes;

impl OnnxLowering for MatMul {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let left = transform(builder, operands.names[0], self.a, operands.types[0].dtype);
        let right = transform(builder, operands.names[1], self.b, operands.types[1].dtype);
        let are_float_matrices = operands.types.iter().all(|t| t.rank() == 2 && t.dtype.is_float());
        if are_float_matrices && (self.ta || self.tb) {
            let transposes =
                vec![attr_int("transA", i64::from(self.ta)), attr_int("transB", i64::from(self.tb))];
            return Ok(builder.add("Gemm", &[&left, &right], transposes));
        }
        let left = transpose_last(builder, left, self.ta, operands.types[0].rank());
        let right = transpose_last(builder, right, self.tb, operands.types[1].rank());
        Ok(builder.add("MatMul", &[&left, &right], vec![]))
    }

    fn transforms(&self) -> Vec<Transform> {
        vec![self.a, self.b]
    }
}

/// Swaps the last two axes if `swap` is set.
fn transpose_last(builder: &mut OnnxBuilder, x: String, swap: bool, rank: usize) -> String {
    if !swap {
        return x;
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    builder.add_cached("Transpose", &[&x], vec![sizes("perm", &perm)])
}
