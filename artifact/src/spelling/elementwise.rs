//! Elementwise primitives and reductions.

use dlbc_ops::prim::{Binary, Prim, Reduction, Unary};
use dlbc_ops::tensor::DType;
use dlbc_proto::write::{attr_float, attr_int};

use super::{Body, ints};

pub(super) fn unary(b: &mut Body, f: Unary) -> Result<(), String> {
    let (op, attributes) = match f {
        Unary::LeakyRelu { alpha } => ("LeakyRelu", vec![attr_float("alpha", alpha)]),
        Unary::Elu { alpha } => ("Elu", vec![attr_float("alpha", alpha)]),
        Unary::HardSigmoid { alpha, beta } => ("HardSigmoid", vec![attr_float("alpha", alpha), attr_float("beta", beta)]),
        Unary::Clip { min, max } => {
            let low = b.float(min.unwrap_or(f32::MIN));
            let high = b.float(max.unwrap_or(f32::MAX));
            b.finish("Clip", &["x0", &low, &high], vec![]);
            return Ok(());
        }
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
        Unary::Relu => ("Relu", vec![]),
        Unary::HardSwish => ("HardSwish", vec![]),
        Unary::Softplus => ("Softplus", vec![]),
        Unary::Softsign => ("Softsign", vec![]),
        Unary::Floor => ("Floor", vec![]),
        Unary::Ceil => ("Ceil", vec![]),
        Unary::Round => ("Round", vec![]),
        Unary::Sin => ("Sin", vec![]),
        Unary::Cos => ("Cos", vec![]),
        Unary::Not => ("Not", vec![]),
    };
    b.finish(op, &["x0"], attributes);
    Ok(())
}

pub(super) fn binary(b: &mut Body, f: Binary, dtype: DType) -> Result<(), String> {
    let op = match f {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Pow => "Pow",
        Binary::Min => "Min",
        Binary::Max => "Max",
        Binary::Mod if dtype.is_integer() => "Mod",
        Binary::Mod => return Err("Mod of floats".into()),
        Binary::Equal => "Equal",
        Binary::Less => "Less",
        Binary::LessOrEqual => "LessOrEqual",
        Binary::And => "And",
        Binary::Or => "Or",
        Binary::Xor => "Xor",
        Binary::GuardedDiv if dtype == DType::F32 => {
            let y = b.guarded_div("x0", "x1");
            b.finish("Identity", &[&y], vec![]);
            return Ok(());
        }
        Binary::GuardedDiv => return Err(format!("a guarded division of {dtype}")),
    };
    b.finish(op, &["x0", "x1"], vec![]);
    Ok(())
}

pub(super) fn reduce(b: &mut Body, prim: &Prim) {
    match prim {
        Prim::Reduce { kind, axes, keep } => {
            let keep = attr_int("keepdims", i64::from(*keep));
            match kind {
                Reduction::Sum => {
                    let axes = b.ints(&axes.iter().map(|a| *a as i64).collect::<Vec<_>>());
                    b.finish("ReduceSum", &["x0", &axes], vec![keep]);
                }
                Reduction::Max => b.finish("ReduceMax", &["x0"], vec![ints("axes", axes), keep]),
                Reduction::Min => b.finish("ReduceMin", &["x0"], vec![ints("axes", axes), keep]),
                Reduction::Prod => b.finish("ReduceProd", &["x0"], vec![ints("axes", axes), keep]),
                Reduction::ArgMax => b.finish("ArgMax", &["x0"], vec![attr_int("axis", axes[0] as i64), keep]),
                Reduction::ArgMin => b.finish("ArgMin", &["x0"], vec![attr_int("axis", axes[0] as i64), keep]),
            }
        }
        Prim::Softmax { axis } => b.finish("Softmax", &["x0"], vec![attr_int("axis", *axis as i64)]),
        _ => {}
    }
}
