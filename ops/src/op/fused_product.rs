//! Products with what follows them, as ONNX Runtime's optimizer writes them: `FusedMatMul`, `FusedGemm` and `FusedConv` of
//! com.microsoft.

use super::read::{MICROSOFT, Reader, Reading};
use super::{Activation, Add, Function, Mul, Transpose, conv, linear, matmul};
use crate::OpError;
use crate::graph::Value;
use crate::prim::Unary;

/// Returns the readers of the fused products.
pub fn readers() -> Vec<Reader> {
    vec![
        Reader::of(MICROSOFT, "FusedMatMul", read_matmul),
        Reader::of(MICROSOFT, "FusedGemm", |r| {
            let y = linear::read_gemm(r)?;
            let parameters =
                [r.float("activation_alpha")?, r.float("activation_beta")?, r.float("activation_gamma")?];
            Ok(vec![activated(r, y, &parameters.into_iter().flatten().collect::<Vec<_>>())?])
        }),
        Reader::of(MICROSOFT, "FusedConv", |r| {
            let y = conv::read_conv(r)?;
            with_sum_and_activation(r, y)
        }),
    ]
}

/// Reads `alpha · A B`, either operand transposed if an attribute says so.
fn read_matmul(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (mut a, mut b) = (r.input(0)?, r.input(1)?);
    for attribute in ["transBatchA", "transBatchB"] {
        if r.flag(attribute, false)? {
            return Err(OpError::unsupported(attribute, 0, 1));
        }
    }
    for (v, attribute) in [(&mut a, "transA"), (&mut b, "transB")] {
        let rank = r.ty(*v).rank();
        if r.flag(attribute, false)? && rank >= 2 {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            *v = r.add(Transpose { perm }, &[*v])?;
        }
    }
    let y = matmul::product(r, a, b)?;
    let alpha = r.float_or("alpha", 1.0)?;
    if alpha == 1.0 {
        return Ok(vec![y]);
    }
    let alpha = r.add_scalar(f64::from(alpha), r.ty(y).dtype);
    Ok(vec![r.add(Mul, &[y, alpha])?])
}

/// Adds what follows a fused convolution: the sum with operand 3, and the activation.
pub(super) fn with_sum_and_activation(r: &mut Reading, convolution: Value) -> Result<Vec<Value>, OpError> {
    let y = match r.optional(3) {
        Some(addend) => r.add(Add, &[convolution, addend])?,
        None => convolution,
    };
    let parameters = r.floats("activation_params")?.unwrap_or_default();
    Ok(vec![activated(r, y, &parameters)?])
}

/// Adds the activation that attribute `activation` names, with its parameters in the order of its own attributes.
fn activated(r: &mut Reading, x: Value, parameters: &[f32]) -> Result<Value, OpError> {
    let parameter = |i: usize, default: f32| parameters.get(i).copied().unwrap_or(default);
    let f = match r.string_or("activation", "")?.as_str() {
        "" => return Ok(x),
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "LeakyRelu" => Unary::LeakyRelu { alpha: parameter(0, 0.01) },
        "Clip" => Unary::Clip { min: parameters.first().copied(), max: parameters.get(1).copied() },
        "HardSigmoid" => Unary::HardSigmoid { alpha: parameter(0, 0.2), beta: parameter(1, 0.5) },
        other => {
            let known = "Relu, Sigmoid, Tanh, LeakyRelu, Clip or HardSigmoid";
            return Err(OpError::unsupported("activation", known, other));
        }
    };
    r.add(Activation { f: Function::Unary(f) }, &[x])
}
