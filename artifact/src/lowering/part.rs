//! Transforms of operands.

use dlbc_ops::prim::Part;
use dlbc_ops::tensor::DType;

use crate::onnx_builder::OnnxBuilder;

/// A transformed operand.
pub(super) fn part(s: &mut OnnxBuilder, x: &str, part: Part, dtype: DType) -> String {
    match part {
        Part::Id => x.to_string(),
        Part::Abs => s.add_cached("Abs", &[x], vec![]),
        Part::Pos if dtype.is_float() => s.add_cached("Relu", &[x], vec![]),
        Part::Square => s.add_cached("Mul", &[x, x], vec![]),
        Part::One => {
            let one = s.scalar(dtype, 1.0);
            let dims = s.add_cached("Shape", &[x], vec![]);
            s.add_cached("Expand", &[&one, &dims], vec![])
        }
        Part::Pos | Part::Neg => {
            let zero = s.scalar(dtype, 0.0);
            s.add_cached(if part == Part::Pos { "Max" } else { "Min" }, &[x, &zero], vec![])
        }
    }
}
