//! Look-up by index and its adjoint.

use dlbc_ops::prim::{Gather, ScatterAdd};
use dlbc_ops::tensor::{Array, DType};
use dlbc_proto::write::{attr_int, attr_string, attr_tensor};

use super::contract::*;
use super::reshape::reshape;
use crate::onnx_builder::types::initializer;

impl OnnxLowering for Gather {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let index = indices(s, at.x[1], at.types[1].dtype);
        Ok(s.add("Gather", &[at.x[0], &index], vec![attr_int("axis", self.axis as i64)]))
    }
}

/// `(updates, indices)` → zeros plus each update at its index. The indexed axes are made one, and each index is repeated
/// for all the elements it stands for: runtimes add those one after another, in one order.
impl OnnxLowering for ScatterAdd {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (x, types, axis) = (at.x, at.types, self.axis);
        let (d, index) = (&types[0].shape.0, &types[1].shape);
        let (before, after) = (&d[..axis], &d[axis + index.rank()..]);
        let mut at = indices(s, x[1], types[1].dtype);
        let mut updates = x[0].to_string();
        if index.rank() != 1 {
            let count = index.elems();
            updates = reshape(s, &updates, d, &[before, &[count], after].concat())?;
        }
        let mut column = vec![1i64; before.len() + 1 + after.len()];
        column[axis] = -1;
        let column = s.ints(&column);
        at = s.add("Reshape", &[&at, &column], vec![]);
        let shape = s.add("Shape", &[&updates], vec![]);
        let at = s.add("Expand", &[&at, &shape], vec![]);
        let result = s.vector(&[before, std::slice::from_ref(&self.to), after].concat())?;
        let zero = Array::F(ndarray::ArrayD::zeros(vec![1])).to_tensor(types[0].dtype);
        let zeros = s.add("ConstantOfShape", &[&result], vec![attr_tensor("value", initializer("", &zero))]);
        let attributes = vec![attr_int("axis", axis as i64), attr_string("reduction", "add")];
        Ok(s.add("ScatterElements", &[&zeros, &at, &updates], attributes))
    }
}

/// Indices as ONNX takes them.
fn indices(s: &mut OnnxBuilder, x: &str, dtype: DType) -> String {
    match dtype {
        DType::I32 | DType::I64 => x.into(),
        _ => s.add("Cast", &[x], vec![attr_int("to", 7)]),
    }
}
