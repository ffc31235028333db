//! Operand transforms.

use dlbc_ops::prim::Transform;
use dlbc_ops::tensor::DType;

use crate::onnx_builder::OnnxBuilder;

/// Applies a transform to the operand `x`.
pub(super) fn transform(builder: &mut OnnxBuilder, x: &str, transform: Transform, dtype: DType) -> String {
    match transform {
        Transform::Id => x.to_string(),
        Transform::Abs => builder.add_cached("Abs", &[x], vec![]),
        Transform::Pos if dtype.is_float() => builder.add_cached("Relu", &[x], vec![]),
        Transform::Square => builder.add_cached("Mul", &[x, x], vec![]),
        Transform::One => {
            let unit = builder.scalar(dtype, 1.0);
            let dims = builder.add_cached("Shape", &[x], vec![]);
            builder.add_cached("Expand", &[&unit, &dims], vec![])
        }
        Transform::Pos | Transform::Neg => {
            let zero = builder.scalar(dtype, 0.0);
            builder.add_cached(if transform == Transform::Pos { "Max" } else { "Min" }, &[x, &zero], vec![])
        }
    }
}
