//! Elementwise functions of one operand.

use dlbc_ops::prim::Unary;
use dlbc_ops::tensor::DType;
use dlbc_proto::write::attr_float;

use super::contract::*;

impl OnnxLowering for Unary {
    fn lower(&self, builder: &mut OnnxBuilder, operands: &Operands) -> Lowered {
        let (x, dtype) = (operands.names[0], operands.types[0].dtype);
        let (op, attributes) = match *self {
            Unary::Abs => ("Abs", vec![]),
            Unary::Neg => ("Neg", vec![]),
            Unary::Sign => ("Sign", vec![]),
            Unary::Exp => ("Exp", vec![]),
            Unary::Log => ("Log", vec![]),
            Unary::Sqrt => ("Sqrt", vec![]),
            Unary::Reciprocal => ("Reciprocal", vec![]),
            Unary::Erf => ("Erf", vec![]),
            Unary::Tanh => ("Tanh", vec![]),
            Unary::Sigmoid => ("Sigmoid", vec![]),
            Unary::Relu if dtype.is_float() => ("Relu", vec![]),
            Unary::Relu => return clip(builder, x, dtype, Some(0.0), None),
            Unary::LeakyRelu { alpha } => ("LeakyRelu", vec![attr_float("alpha", alpha)]),
            Unary::Elu { alpha } => ("Elu", vec![attr_float("alpha", alpha)]),
            Unary::HardSigmoid { alpha, beta } => {
                ("HardSigmoid", vec![attr_float("alpha", alpha), attr_float("beta", beta)])
            }
            Unary::HardSwish => ("HardSwish", vec![]),
            Unary::Softplus => ("Softplus", vec![]),
            Unary::Softsign => ("Softsign", vec![]),
            Unary::Clip { min, max } => return clip(builder, x, dtype, min, max),
            Unary::Floor => ("Floor", vec![]),
            Unary::Ceil => ("Ceil", vec![]),
            Unary::Round => ("Round", vec![]),
            Unary::Sin => ("Sin", vec![]),
            Unary::Cos => ("Cos", vec![]),
            Unary::Not => ("Not", vec![]),
        };
        Ok(builder.add(op, &[x], attributes))
    }
}

/// Adds a `Clip`; bounds of integers are rounded inwards.
fn clip(builder: &mut OnnxBuilder, x: &str, dtype: DType, min: Option<f32>, max: Option<f32>) -> Lowered {
    let is_integer = !dtype.is_float();
    let bound = |v: Option<f32>, round: fn(f64) -> f64| {
        v.map(f64::from).filter(|v| v.is_finite()).map(|v| if is_integer { round(v) } else { v })
    };
    let mut scalar = |v: Option<f64>| v.map_or(String::new(), |v| builder.scalar(dtype, v));
    let (low, high) = (scalar(bound(min, f64::ceil)), scalar(bound(max, f64::floor)));
    Ok(match (low.is_empty(), high.is_empty()) {
        (true, true) => builder.add("Identity", &[x], vec![]),
        (_, true) => builder.add("Clip", &[x, &low], vec![]),
        (_, false) => builder.add("Clip", &[x, &low, &high], vec![]),
    })
}
