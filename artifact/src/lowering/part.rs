//! Transforms of operands.

use dlbc_ops::prim::Transform;
use dlbc_ops::tensor::DType;

use crate::onnx_builder::OnnxBuilder;

/// A transformed operand.
pub(super) fn part(s: &mut OnnxBuilder, x: &str, part: Transform, dtype: DType) -> String {
    match part {
        Transform::Id => x.to_string(),
        Transform::Abs => s.add_cached("Abs", &[x], vec![]),
        Transform::Pos if dtype.is_float() => s.add_cached("Relu", &[x], vec![]),
        Transform::Square => s.add_cached("Mul", &[x, x], vec![]),
        Transform::One => {
            let one = s.scalar(dtype, 1.0);
            let dims = s.add_cached("Shape", &[x], vec![]);
            s.add_cached("Expand", &[&one, &dims], vec![])
        }
        Transform::Pos | Transform::Neg => {
            let zero = s.scalar(dtype, 0.0);
            s.add_cached(if part == Transform::Pos { "Max" } else { "Min" }, &[x, &zero], vec![])
        }
    }
}
