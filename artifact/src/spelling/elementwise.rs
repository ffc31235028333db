//! Elementwise functions, selection and reductions.

use dlbc_ops::prim::{Binary, Reduction, Unary};
use dlbc_ops::tensor::DType;
use dlbc_proto::write::{attr_float, attr_int};

use super::{Spelled, guarded_div};
use crate::onnx_builder::OnnxBuilder;
use crate::onnx_builder::types::{code, sizes};

pub(super) fn unary(s: &mut OnnxBuilder, f: Unary, x: &str, dtype: DType) -> Spelled {
    let (op, attributes) = match f {
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
        Unary::Relu => return clip(s, x, dtype, Some(0.0), None),
        Unary::LeakyRelu { alpha } => ("LeakyRelu", vec![attr_float("alpha", alpha)]),
        Unary::Elu { alpha } => ("Elu", vec![attr_float("alpha", alpha)]),
        Unary::HardSigmoid { alpha, beta } => {
            ("HardSigmoid", vec![attr_float("alpha", alpha), attr_float("beta", beta)])
        }
        Unary::HardSwish => ("HardSwish", vec![]),
        Unary::Softplus => ("Softplus", vec![]),
        Unary::Softsign => ("Softsign", vec![]),
        Unary::Clip { min, max } => return clip(s, x, dtype, min, max),
        Unary::Floor => ("Floor", vec![]),
        Unary::Ceil => ("Ceil", vec![]),
        Unary::Round => ("Round", vec![]),
        Unary::Sin => ("Sin", vec![]),
        Unary::Cos => ("Cos", vec![]),
        Unary::Not => ("Not", vec![]),
    };
    Ok(s.add(op, &[x], attributes))
}

fn clip(s: &mut OnnxBuilder, x: &str, dtype: DType, min: Option<f32>, max: Option<f32>) -> Spelled {
    let whole = !dtype.is_float();
    let bound = |v: Option<f32>, round: fn(f64) -> f64| {
        v.map(f64::from).filter(|v| v.is_finite()).map(|v| if whole { round(v) } else { v })
    };
    let mut scalar = |v: Option<f64>| v.map_or(String::new(), |v| s.scalar(dtype, v));
    let (low, high) = (scalar(bound(min, f64::ceil)), scalar(bound(max, f64::floor)));
    Ok(match (low.is_empty(), high.is_empty()) {
        (true, true) => s.add("Identity", &[x], vec![]),
        (_, true) => s.add("Clip", &[x, &low], vec![]),
        (_, false) => s.add("Clip", &[x, &low, &high], vec![]),
    })
}

pub(super) fn binary(s: &mut OnnxBuilder, f: Binary, a: &str, b: &str, dtype: DType) -> Spelled {
    let op = match f {
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

pub(super) fn select(s: &mut OnnxBuilder, x: &[&str], dtype: DType) -> Spelled {
    if dtype != DType::Bool {
        return Ok(s.add("Where", x, vec![]));
    }
    // ONNX Runtime has no `Where` of booleans.
    let yes = s.add("And", &[x[0], x[1]], vec![]);
    let no = s.add("Not", &[x[0]], vec![]);
    let no = s.add("And", &[&no, x[2]], vec![]);
    Ok(s.add("Or", &[&yes, &no], vec![]))
}

pub(super) fn reduce(
    s: &mut OnnxBuilder,
    kind: Reduction,
    axes: &[usize],
    keep: bool,
    x: &str,
    dtype: DType,
) -> Spelled {
    let keep = attr_int("keepdims", i64::from(keep));
    // No axes mean all axes there.
    let (op, arg) = match kind {
        _ if axes.is_empty() => return Ok(s.add("Identity", &[x], vec![])),
        Reduction::Sum => {
            let axes = s.ints(&axes.iter().map(|a| *a as i64).collect::<Vec<_>>());
            return Ok(s.add("ReduceSum", &[x, &axes], vec![keep]));
        }
        Reduction::Max => ("ReduceMax", false),
        Reduction::Min => ("ReduceMin", false),
        Reduction::Prod => ("ReduceProd", false),
        Reduction::ArgMax => ("ArgMax", true),
        Reduction::ArgMin => ("ArgMin", true),
    };
    if !arg {
        return Ok(s.add(op, &[x], vec![sizes("axes", axes), keep]));
    }
    // ONNX Runtime has none of int64.
    let wide = dtype == DType::I64;
    let to = attr_int("to", i64::from(code(DType::F64).to_onnx()));
    let x = if wide { s.add("Cast", &[x], vec![to]) } else { x.to_string() };
    Ok(s.add(op, &[&x], vec![attr_int("axis", axes[0] as i64), keep]))
}
