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
        let [left_rank, right_rank] = [0, 1].map(|k| operands.types[k].rank());
        let left = if self.ta { transpose_last(builder, &left, left_rank) } else { left };
        let right = if self.tb { transpose_last(builder, &right, right_rank) } else { right };
        Ok(builder.add("MatMul", &[&left, &right], vec![]))
    }

    fn transforms(&self) -> Vec<Transform> {
        vec![self.a, self.b]
    }
}

/// Swaps the last two axes.
fn transpose_last(builder: &mut OnnxBuilder, x: &str, rank: usize) -> String {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    builder.add_cached("Transpose", &[x], vec![sizes("perm", &perm)])
}
