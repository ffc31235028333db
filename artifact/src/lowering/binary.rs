//! Elementwise functions of two operands.

use dlbc_ops::prim::Binary;
use dlbc_ops::tensor::DType;

use super::contract::*;

impl OnnxLowering for Binary {
    fn lower(&self, s: &mut OnnxBuilder, at: &Operands) -> Lowered {
        let (a, b, dtype) = (at.x[0], at.x[1], at.types[0].dtype);
        let op = match self {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::GuardedDiv => return Ok(guarded_div(s, a, b, dtype)),
            Binary::Pow => "Pow",
            Binary::Min => "Min",
            Binary::Max => "Max",
            Binary::Mod if dtype.is_float() => {
                let quotient = s.add("Div", &[a, b], vec![]);
                let whole = s.add("Floor", &[&quotient], vec![]);
                let product = s.add("Mul", &[b, &whole], vec![]);
                return Ok(s.add("Sub", &[a, &product], vec![]));
            }
            Binary::Mod => "Mod",
            Binary::Equal => "Equal",
            Binary::Less => "Less",
            Binary::LessOrEqual => "LessOrEqual",
            Binary::And => "And",
            Binary::Or => "Or",
            Binary::Xor => "Xor",
        };
        Ok(s.add(op, &[a, b], vec![]))
    }
}

/// `a / b`, 0 where `b` is 0.
pub(super) fn guarded_div(s: &mut OnnxBuilder, a: &str, b: &str, dtype: DType) -> String {
    let (zero, one) = (s.scalar(dtype, 0.0), s.scalar(dtype, 1.0));
    let empty = s.add("Equal", &[b, &zero], vec![]);
    let divisor = s.add("Where", &[&empty, &one, b], vec![]);
    let quotient = s.add("Div", &[a, &divisor], vec![]);
    s.add("Where", &[&empty, &zero, &quotient], vec![])
}
