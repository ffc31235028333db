//! Functions of floats, with the semantics of the reference kernels: `Min` and `Max` drop NaN, `Relu` and `Clip` keep it.

use dlbc_ops::prim::{Binary, Unary};

use super::{Division, as_word};
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::math;

pub(super) fn unary(k: &mut Emitter, f: Unary, x: Reg) -> Reg {
    let instruction = |k: &mut Emitter, name: &str| math::unary(k, name, x);
    match f {
        Unary::Abs => instruction(k, "abs.f32"),
        Unary::Neg => instruction(k, "neg.f32"),
        Unary::Sign => math::sign(k, x),
        Unary::Exp => math::exp(k, x),
        Unary::Log => math::log(k, x),
        Unary::Sqrt => instruction(k, "sqrt.rn.f32"),
        Unary::Reciprocal => instruction(k, "rcp.rn.f32"),
        Unary::Erf => math::erf(k, x),
        Unary::Tanh => math::tanh(k, x),
        Unary::Sigmoid => math::sigmoid(k, x),
        Unary::Relu => math::binary(k, "max.NaN.f32", x, imm(0.0)),
        Unary::LeakyRelu { alpha } => {
            let scaled = math::binary(k, "mul.rn.f32", x, imm(alpha));
            let p = math::test(k, "gt", x, imm(0.0));
            math::pick(k, x, scaled, p)
        }
        Unary::Elu { alpha } => {
            let e = math::exp_m1(k, x);
            let scaled = math::binary(k, "mul.rn.f32", e, imm(alpha));
            let p = math::test(k, "gt", x, imm(0.0));
            math::pick(k, x, scaled, p)
        }
        Unary::HardSigmoid { alpha, beta } => {
            let y = math::fma(k, x, imm(alpha), imm(beta));
            clip(k, y, Some(0.0), Some(1.0))
        }
        Unary::HardSwish => {
            let y = math::binary(k, "div.rn.f32", x, imm(6.0));
            let y = math::binary(k, "add.rn.f32", y, imm(0.5));
            let y = clip(k, y, Some(0.0), Some(1.0));
            math::binary(k, "mul.rn.f32", x, y)
        }
        Unary::Softplus => math::softplus(k, x),
        Unary::Softsign => {
            let size = math::unary(k, "abs.f32", x);
            let below = math::binary(k, "add.rn.f32", size, imm(1.0));
            math::binary(k, "div.rn.f32", x, below)
        }
        Unary::Clip { min, max } => clip(k, x, min, max),
        Unary::Floor => instruction(k, "cvt.rmi.f32.f32"),
        Unary::Ceil => instruction(k, "cvt.rpi.f32.f32"),
        Unary::Round => instruction(k, "cvt.rni.f32.f32"),
        Unary::Sin => math::sine(k, x, 0),
        Unary::Cos => math::sine(k, x, 1),
        // The type rules reject it for floats.
        Unary::Not => math::unary(k, "mov.f32", imm(f32::NAN)),
    }
}

fn clip(k: &mut Emitter, x: Reg, min: Option<f32>, max: Option<f32>) -> Reg {
    let x = min.filter(|m| !m.is_nan()).map_or(x, |m| math::binary(k, "max.NaN.f32", x, imm(m)));
    max.filter(|m| !m.is_nan()).map_or(x, |m| math::binary(k, "min.NaN.f32", x, imm(m)))
}

pub(super) fn binary(k: &mut Emitter, f: Binary, a: Reg, b: Reg, division: Division) -> Reg {
    let compare = |k: &mut Emitter, op: &str| {
        let p = math::test(k, op, a, b);
        as_word(k, p)
    };
    let divide = match division {
        Division::Rounded => "div.rn.f32",
        Division::Full => "div.full.f32",
    };
    match f {
        Binary::Add => math::binary(k, "add.rn.f32", a, b),
        Binary::Sub => math::binary(k, "sub.rn.f32", a, b),
        Binary::Mul => math::binary(k, "mul.rn.f32", a, b),
        Binary::Div => math::binary(k, divide, a, b),
        Binary::GuardedDiv => guarded(k, divide, a, b),
        Binary::Pow => math::pow(k, a, b),
        Binary::Min => math::binary(k, "min.f32", a, b),
        Binary::Max => math::binary(k, "max.f32", a, b),
        Binary::Mod => math::modulo(k, a, b),
        Binary::Equal => compare(k, "eq"),
        Binary::Less => compare(k, "lt"),
        Binary::LessOrEqual => compare(k, "le"),
        // The type rules reject these for floats.
        Binary::And | Binary::Or | Binary::Xor => k.mov_u32("0"),
    }
}

/// Computes `a / b`, 0 where `b` is 0.
fn guarded(k: &mut Emitter, divide: &str, a: Reg, b: Reg) -> Reg {
    let zero = math::test(k, "eq", b, imm(0.0));
    let below = math::pick(k, imm(1.0), b, zero);
    let y = math::binary(k, divide, a, below);
    math::pick(k, imm(0.0), y, zero)
}
