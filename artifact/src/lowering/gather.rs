//! Look-up by index, and its adjoint.

use dlbc_ops::prim::{Gather, ScatterAdd};
use dlbc_ops::tensor::{Array, DType};
use dlbc_proto::write::{attr_int, attr_string, attr_tensor};

use super::contract::*;
use super::reshape::reshape;
use crate::onnx_builder::types::initializer;

impl OnnxLowering for Gather {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let index = indices(builder, operands.names[1], operands.types[1].dtype);
        Ok(builder.add("Gather", &[operands.names[0], &index], vec![attr_int("axis", self.axis as i64)]))
    }
}

/// `(updates, indices)` → zeros plus each update at its index. The indexed axes are flattened to one axis, and each index is
/// expanded to all elements of its update, because `ScatterElements` adds element by element, in a fixed order.
impl OnnxLowering for ScatterAdd {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, types, axis) = (operands.names, operands.types, self.axis);
        let (d, index) = (&types[0].shape.0, &types[1].shape);
        let (before, after) = (&d[..axis], &d[axis + index.rank()..]);
        let mut positions = indices(builder, x[1], types[1].dtype);
        let mut updates = x[0].to_string();
        if index.rank() != 1 {
            let count = index.elems();
            updates = reshape(builder, &updates, d, &[before, &[count], after].concat())?;
        }
        let mut column = vec![1i64; before.len() + 1 + after.len()];
        column[axis] = -1;
        let column = builder.ints(&column);
        positions = builder.add("Reshape", &[&positions, &column], vec![]);
        let shape = builder.add("Shape", &[&updates], vec![]);
        let positions = builder.add("Expand", &[&positions, &shape], vec![]);
        let result = builder.vector(&[before, std::slice::from_ref(&self.to), after].concat())?;
        let zero = Array::F(ndarray::ArrayD::zeros(vec![1])).to_tensor(types[0].dtype);
        let zeros =
            builder.add("ConstantOfShape", &[&result], vec![attr_tensor("value", initializer("", &zero))]);
        let attributes = vec![attr_int("axis", axis as i64), attr_string("reduction", "add")];
        Ok(builder.add("ScatterElements", &[&zeros, &positions, &updates], attributes))
    }
}

/// Casts indices to int64 unless ONNX takes their type.
fn indices(builder: &mut OnnxBuilder, x: &str, dtype: DType) -> String {
    match dtype {
        DType::I32 | DType::I64 => x.into(),
        _ => builder.add("Cast", &[x], vec![attr_int("to", 7)]),
    }
}
