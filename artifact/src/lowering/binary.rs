//! Elementwise functions of two operands.

use dlbc_ops::prim::Binary;
use dlbc_ops::tensor::DType;

use super::contract::*;

impl OnnxLowering for Binary {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (a, b, dtype) = (operands.names[0], operands.names[1], operands.types[0].dtype);
        let op = match self {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::GuardedDiv => return Ok(guarded_div(builder, a, b, dtype)),
            Binary::Pow => "Pow",
            Binary::Min => "Min",
            Binary::Max => "Max",
            Binary::Mod if dtype.is_float() => {
                let quotient = builder.add("Div", &[a, b], vec![]);
                let whole = builder.add("Floor", &[&quotient], vec![]);
                let product = builder.add("Mul", &[b, &whole], vec![]);
                return Ok(builder.add("Sub", &[a, &product], vec![]));
            }
            Binary::Mod => "Mod",
            Binary::Equal => "Equal",
            Binary::Less => "Less",
            Binary::LessOrEqual => "LessOrEqual",
            // Bits of integers have operators from opset 18 on.
            Binary::And | Binary::Or | Binary::Xor if dtype.is_integer() => {
                return Err(format!("{} of integers: expected booleans", self.word()));
            }
            Binary::And => "And",
            Binary::Or => "Or",
            Binary::Xor => "Xor",
        };
        Ok(builder.add(op, &[a, b], vec![]))
    }
}

/// Returns `a / b`, 0 where `b` is 0.
pub(super) fn guarded_div(builder: &mut OnnxBuilder, a: &str, b: &str, dtype: DType) -> String {
    let (zero, unit) = (builder.scalar(dtype, 0.0), builder.scalar(dtype, 1.0));
    let is_zero = builder.add("Equal", &[b, &zero], vec![]);
    let divisor = builder.add("Where", &[&is_zero, &unit, b], vec![]);
    let quotient = builder.add("Div", &[a, &divisor], vec![]);
    builder.add("Where", &[&is_zero, &zero, &quotient], vec![])
}
