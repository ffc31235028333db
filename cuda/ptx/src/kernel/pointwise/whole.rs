//! Functions of integers (int64, wrapping) and booleans, and conversions.

use dlbc_ops::prim::{Binary, Unary};
use dlbc_ops::tensor::DType;

use super::{Kind, as_word, fail};
use crate::emit::{Emitter, Reg, imm};
use crate::kernel::math;
use crate::op;

fn two(k: &mut Emitter, name: &str, a: impl std::fmt::Display, b: impl std::fmt::Display) -> Reg {
    let d = k.d();
    op!(k, "{name} {d}, {a}, {b}");
    d
}

fn test(k: &mut Emitter, op: &str, a: impl std::fmt::Display, b: impl std::fmt::Display) -> Reg {
    let p = k.p();
    op!(k, "setp.{op}.s64 {p}, {a}, {b}");
    p
}

fn pick(k: &mut Emitter, a: impl std::fmt::Display, b: impl std::fmt::Display, p: Reg) -> Reg {
    let d = k.d();
    op!(k, "selp.b64 {d}, {a}, {b}, {p}");
    d
}

pub(super) fn unary(k: &mut Emitter, f: Unary, x: Reg) -> Reg {
    match f {
        Unary::Abs => {
            let d = k.d();
            op!(k, "abs.s64 {d}, {x}");
            d
        }
        Unary::Neg => two(k, "sub.s64", 0, x),
        Unary::Sign => {
            let low = two(k, "max.s64", x, -1);
            two(k, "min.s64", low, 1)
        }
        Unary::Relu => two(k, "max.s64", x, 0),
        Unary::Clip { min, max } => {
            let bound = |b: Option<f32>| b.filter(|b| !b.is_nan());
            let x = bound(min).map_or(x, |m| two(k, "max.s64", x, format!("0x{:016x}", m.ceil() as i64)));
            bound(max).map_or(x, |m| two(k, "min.s64", x, format!("0x{:016x}", m.floor() as i64)))
        }
        // The planner rejects these for integers, as the reference does.
        Unary::Exp | Unary::Log | Unary::Sqrt | Unary::Reciprocal | Unary::Erf | Unary::Tanh => x,
        Unary::Sigmoid | Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::HardSigmoid { .. } => x,
        Unary::HardSwish | Unary::Softplus | Unary::Softsign | Unary::Floor | Unary::Ceil => x,
        Unary::Round | Unary::Sin | Unary::Cos | Unary::Not => x,
    }
}

pub(super) fn binary(k: &mut Emitter, f: Binary, a: Reg, b: Reg) -> Reg {
    let compare = |k: &mut Emitter, op: &str| {
        let p = test(k, op, a, b);
        as_word(k, p)
    };
    match f {
        Binary::Add => two(k, "add.s64", a, b),
        Binary::Sub => two(k, "sub.s64", a, b),
        Binary::Mul => two(k, "mul.lo.s64", a, b),
        Binary::Div => {
            let zero = test(k, "eq", b, 0);
            fail(k, zero);
            divide(k, a, b, zero)
        }
        Binary::GuardedDiv => {
            let zero = test(k, "eq", b, 0);
            divide(k, a, b, zero)
        }
        Binary::Pow => power(k, a, b),
        Binary::Min => two(k, "min.s64", a, b),
        Binary::Max => two(k, "max.s64", a, b),
        Binary::Mod => modulo(k, a, b),
        Binary::Equal => compare(k, "eq"),
        Binary::Less => compare(k, "lt"),
        Binary::LessOrEqual => compare(k, "le"),
        Binary::And => two(k, "and.b64", a, b),
        Binary::Or => two(k, "or.b64", a, b),
        Binary::Xor => two(k, "xor.b64", a, b),
    }
}

/// Computes `a / b` rounded towards zero, 0 where `b` is 0. `-2⁶³ / -1` wraps; the hardware's result for it is undefined.
fn divide(k: &mut Emitter, a: Reg, b: Reg, zero: Reg) -> Reg {
    let minus_one = test(k, "eq", b, -1);
    let below = pick(k, 1, b, zero);
    let below = pick(k, 1, below, minus_one);
    let quotient = two(k, "div.s64", a, below);
    let negated = two(k, "sub.s64", 0, quotient);
    let y = pick(k, negated, quotient, minus_one);
    pick(k, 0, y, zero)
}

/// Computes `a - b · ⌊a / b⌋`: the result has the sign of `b`.
fn modulo(k: &mut Emitter, a: Reg, b: Reg) -> Reg {
    let zero = test(k, "eq", b, 0);
    fail(k, zero);
    let quotient = divide(k, a, b, zero);
    let product = two(k, "mul.lo.s64", quotient, b);
    let rest = two(k, "sub.s64", a, product);
    let signs = two(k, "xor.b64", rest, b);
    let (opposite, inexact) = (test(k, "lt", signs, 0), test(k, "ne", rest, 0));
    let p = k.p();
    op!(k, "and.pred {p}, {opposite}, {inexact}");
    let shifted = two(k, "add.s64", rest, b);
    pick(k, shifted, rest, p)
}

/// Computes `aᵇ` by squaring, truncated towards zero if `b` is negative.
fn power(k: &mut Emitter, a: Reg, b: Reg) -> Reg {
    let (result, square, rest) = (k.d(), k.d(), k.d());
    let negative = test(k, "lt", b, 0);
    let zero = test(k, "eq", a, 0);
    let undefined = k.p();
    op!(k, "and.pred {undefined}, {negative}, {zero}");
    fail(k, undefined);
    // Only 1 and -1 have nonzero powers of negative exponents.
    let size = k.d();
    op!(k, "abs.s64 {size}, {a}");
    let unit = test(k, "eq", size, 1);
    op!(k, "mov.b64 {result}, 1");
    op!(k, "mov.b64 {square}, {a}");
    op!(k, "abs.s64 {rest}, {b}");
    let (top, end) = (k.label("POWER"), k.label("POWERED"));
    k.place(&top);
    let finished = test(k, "eq", rest, 0);
    op!(k, "@{finished} bra {end}");
    let bit = two(k, "and.b64", rest, 1);
    let odd = test(k, "ne", bit, 0);
    let times = two(k, "mul.lo.s64", result, square);
    op!(k, "selp.b64 {result}, {times}, {result}, {odd}");
    op!(k, "mul.lo.s64 {square}, {square}, {square}");
    op!(k, "shr.u64 {rest}, {rest}, 1");
    op!(k, "bra {top}");
    k.place(&end);
    let truncated = pick(k, result, 0, unit);
    pick(k, truncated, result, negative)
}

pub(super) fn logic(k: &mut Emitter, f: Binary, a: Reg, b: Reg) -> Reg {
    let r = k.r();
    match f {
        Binary::And => op!(k, "and.b32 {r}, {a}, {b}"),
        Binary::Or => op!(k, "or.b32 {r}, {a}, {b}"),
        Binary::Xor => op!(k, "xor.b32 {r}, {a}, {b}"),
        Binary::Equal => {
            op!(k, "xor.b32 {r}, {a}, {b}");
            op!(k, "xor.b32 {r}, {r}, 1");
        }
        // The planner rejects these for booleans, as the reference does.
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::GuardedDiv | Binary::Pow => {
            op!(k, "mov.u32 {r}, 0");
        }
        Binary::Min | Binary::Max | Binary::Mod | Binary::Less | Binary::LessOrEqual => {
            op!(k, "mov.u32 {r}, 0");
        }
    }
    r
}

/// Converts `x`: floats truncate to integers, integers keep their low bits, nonzero values are true.
pub(super) fn cast(k: &mut Emitter, dtype: DType, x: Reg, source: Kind) -> Reg {
    match (source, Kind::of(dtype)) {
        (Kind::B, Kind::B) => x,
        (Kind::F, Kind::B) => {
            let p = math::test(k, "neu", x, imm(0.0));
            as_word(k, p)
        }
        (Kind::I, Kind::B) => {
            let p = test(k, "ne", x, 0);
            as_word(k, p)
        }
        (Kind::F, Kind::F) => rounded(k, dtype, x),
        (Kind::I, Kind::F) => {
            let f = k.f();
            op!(k, "cvt.rn.f32.s64 {f}, {x}");
            rounded(k, dtype, f)
        }
        (Kind::B, Kind::F) => {
            let f = k.f();
            op!(k, "cvt.rn.f32.u32 {f}, {x}");
            f
        }
        (Kind::F, Kind::I) => {
            let d = truncated(k, x);
            narrowed(k, dtype, d)
        }
        (Kind::I, Kind::I) => narrowed(k, dtype, x),
        (Kind::B, Kind::I) => {
            let d = k.d();
            op!(k, "cvt.u64.u32 {d}, {x}");
            d
        }
    }
}

/// Rounds to the nearest value of a 16-bit float type; leaves `x` unchanged for other types.
fn rounded(k: &mut Emitter, dtype: DType, x: Reg) -> Reg {
    match dtype {
        DType::F16 => {
            let (h, f) = (k.h(), k.f());
            op!(k, "cvt.rn.f16.f32 {h}, {x}");
            op!(k, "cvt.f32.f16 {f}, {h}");
            f
        }
        DType::Bf16 => {
            let (h, wide, f) = (k.h(), k.r(), k.f());
            op!(k, "cvt.rn.bf16.f32 {h}, {x}");
            op!(k, "cvt.u32.u16 {wide}, {h}");
            op!(k, "shl.b32 {wide}, {wide}, 16");
            op!(k, "mov.b32 {f}, {wide}");
            f
        }
        DType::F32 | DType::F64 | DType::Bool => x,
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => x,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => x,
    }
}

/// Truncates to an integer. NaN becomes 0; from 2⁶³ on, the bits are those of the unsigned integer.
fn truncated(k: &mut Emitter, x: Reg) -> Reg {
    let (signed, unsigned) = (k.d(), k.d());
    op!(k, "cvt.rzi.s64.f32 {signed}, {x}");
    op!(k, "cvt.rzi.u64.f32 {unsigned}, {x}");
    let large = math::test(k, "ge", x, imm(9.223_372e18));
    let d = pick(k, unsigned, signed, large);
    let nan = math::test(k, "nan", x, x);
    pick(k, 0, d, nan)
}

/// Wraps an integer to the range of a type.
fn narrowed(k: &mut Emitter, dtype: DType, x: Reg) -> Reg {
    let bits = 8 * dtype.size_bytes() as u32;
    if bits == 64 {
        return x;
    }
    let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32);
    let d = two(k, "shl.b64", x, 64 - bits);
    two(k, if signed { "shr.s64" } else { "shr.u64" }, d, 64 - bits)
}
