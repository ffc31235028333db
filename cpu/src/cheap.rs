//! Unary functions that fused expressions and epilogues compute.

use dlbc_ops::prim::Unary;

/// Returns whether this module computes a function. Exponentials are left to tract, which vectorises them.
pub fn cheap(f: Unary) -> bool {
    matches!(
        f,
        Unary::Abs
            | Unary::Neg
            | Unary::Sqrt
            | Unary::Reciprocal
            | Unary::Log
            | Unary::Relu
            | Unary::LeakyRelu { .. }
            | Unary::Elu { .. }
            | Unary::HardSigmoid { .. }
            | Unary::HardSwish
            | Unary::Clip { .. }
            | Unary::Floor
            | Unary::Ceil
            | Unary::Round
    )
}

/// Applies a function that is [`cheap`] to every element.
#[inline(always)]
pub fn unary(f: Unary, x: &mut [f32]) {
    match f {
        Unary::Abs => each(x, f32::abs),
        Unary::Neg => each(x, |v| -v),
        Unary::Sqrt => each(x, f32::sqrt),
        Unary::Reciprocal => each(x, |v| 1.0 / v),
        Unary::Log => each(x, f32::ln),
        Unary::Relu => each(x, |v| if v < 0.0 { 0.0 } else { v }),
        Unary::LeakyRelu { alpha } => each(x, |v| if v < 0.0 { alpha * v } else { v }),
        Unary::Elu { alpha } => each(x, |v| if v < 0.0 { alpha * v.exp_m1() } else { v }),
        Unary::HardSigmoid { alpha, beta } => each(x, |v| (alpha * v + beta).clamp(0.0, 1.0)),
        Unary::HardSwish => each(x, |v| v * (v / 6.0 + 0.5).clamp(0.0, 1.0)),
        Unary::Floor => each(x, f32::floor),
        Unary::Ceil => each(x, f32::ceil),
        Unary::Round => each(x, f32::round_ties_even),
        Unary::Clip { min, max } => {
            let (min, max) = (min.unwrap_or(f32::NEG_INFINITY), max.unwrap_or(f32::INFINITY));
            each(x, |v| {
                let low = if v < min { min } else { v };
                if low > max { max } else { low }
            });
        }
        // Functions that are not `cheap` do not occur.
        _ => {}
    }
}

#[inline(always)]
fn each(x: &mut [f32], f: impl Fn(f32) -> f32) {
    x.iter_mut().for_each(|v| *v = f(*v));
}
