//! Elementary functions on float32 registers, accurate to a few units in the last place. Of the instructions, only
//! `ex2.approx` is approximate.

use std::fmt::Display;

use crate::emit::{Emitter, Reg, imm, imm64};
use crate::op;

/// Emits `name d, a` and returns `d`.
pub(super) fn unary(k: &mut Emitter, name: &str, a: impl Display) -> Reg {
    let d = k.f();
    op!(k, "{name} {d}, {a}");
    d
}

/// Emits `name d, a, b` and returns `d`.
pub(super) fn binary(k: &mut Emitter, name: &str, a: impl Display, b: impl Display) -> Reg {
    let d = k.f();
    op!(k, "{name} {d}, {a}, {b}");
    d
}

/// Computes `a · b + c` with one rounding.
pub(super) fn fma(k: &mut Emitter, a: impl Display, b: impl Display, c: impl Display) -> Reg {
    let d = k.f();
    op!(k, "fma.rn.f32 {d}, {a}, {b}, {c}");
    d
}

/// Selects `a` if `p`, else `b`.
pub(super) fn pick(k: &mut Emitter, a: impl Display, b: impl Display, p: Reg) -> Reg {
    let d = k.f();
    op!(k, "selp.f32 {d}, {a}, {b}, {p}");
    d
}

/// Compares two floats by `op`.
pub(super) fn test(k: &mut Emitter, op: &str, a: impl Display, b: impl Display) -> Reg {
    let p = k.p();
    op!(k, "setp.{op}.f32 {p}, {a}, {b}");
    p
}

/// Evaluates `c₀ + c₁ x + c₂ x² + …`.
fn polynomial(k: &mut Emitter, x: Reg, coefficients: &[f64]) -> Reg {
    let mut descending = coefficients.iter().rev();
    let mut y = unary(k, "mov.f32", imm(descending.next().copied().unwrap_or(0.0) as f32));
    for c in descending {
        y = fma(k, y, x, imm(*c as f32));
    }
    y
}

/// Evaluates `c₀ + c₁ x + c₂ x² + …` in float64.
fn polynomial64(k: &mut Emitter, x: Reg, coefficients: &[f64]) -> Reg {
    let y = k.g();
    let mut descending = coefficients.iter().rev();
    op!(k, "mov.f64 {y}, {}", imm64(descending.next().copied().unwrap_or(0.0)));
    for c in descending {
        op!(k, "fma.rn.f64 {y}, {y}, {x}, {}", imm64(*c));
    }
    y
}

/// `eˣ`.
pub(super) fn exp(k: &mut Emitter, x: Reg) -> Reg {
    let log2e = std::f64::consts::LOG2_E;
    let low = log2e - f64::from(log2e as f32);
    let x = binary(k, "max.NaN.f32", x, imm(-110.0));
    let x = binary(k, "min.NaN.f32", x, imm(95.0));
    let whole = binary(k, "mul.rn.f32", x, imm(log2e as f32));
    let minus = unary(k, "neg.f32", whole);
    let rest = fma(k, x, imm(log2e as f32), minus);
    let rest = fma(k, x, imm(low as f32), rest);
    let power = unary(k, "ex2.approx.f32", whole);
    let factor = fma(k, rest, imm(std::f32::consts::LN_2), imm(1.0));
    binary(k, "mul.rn.f32", power, factor)
}

/// `ln x`.
pub(super) fn log(k: &mut Emitter, x: Reg) -> Reg {
    let tiny = test(k, "lt", x, imm(f32::MIN_POSITIVE));
    let scaled = binary(k, "mul.rn.f32", x, imm(8_388_608.0));
    let normal = pick(k, scaled, x, tiny);
    let (bits, e, shift, shifted) = (k.r(), k.r(), k.r(), k.r());
    op!(k, "mov.b32 {bits}, {normal}");
    // The exponent, counted so that the mantissa lies in [√½, √2).
    op!(k, "sub.u32 {e}, {bits}, 0x3f3504f3");
    op!(k, "shr.s32 {e}, {e}, 23");
    op!(k, "shl.b32 {shifted}, {e}, 23");
    op!(k, "sub.u32 {bits}, {bits}, {shifted}");
    op!(k, "selp.b32 {shift}, 23, 0, {tiny}");
    op!(k, "sub.u32 {e}, {e}, {shift}");
    let (m, e_float) = (k.f(), k.f());
    op!(k, "mov.b32 {m}, {bits}");
    op!(k, "cvt.rn.f32.s32 {e_float}, {e}");
    let f = binary(k, "add.rn.f32", m, imm(-1.0));
    let square = binary(k, "mul.rn.f32", f, f);
    let tail = polynomial(
        k,
        f,
        &[
            3.333_333_117_4e-1,
            -2.499_999_399_3e-1,
            2.000_071_476_5e-1,
            -1.666_805_766_5e-1,
            1.424_932_278_7e-1,
            -1.242_014_084_6e-1,
            1.167_699_874_0e-1,
            -1.151_461_031_0e-1,
            7.037_683_629_2e-2,
        ],
    );
    let tail = binary(k, "mul.rn.f32", tail, f);
    let tail = binary(k, "mul.rn.f32", tail, square);
    let tail = fma(k, e_float, imm(-2.121_944_4e-4), tail);
    let tail = fma(k, square, imm(-0.5), tail);
    let y = binary(k, "add.rn.f32", f, tail);
    let y = fma(k, e_float, imm(0.693_359_4), y);
    let finite = test(k, "lt", x, imm(f32::INFINITY));
    let y = pick(k, y, x, finite);
    let zero = test(k, "eq", x, imm(0.0));
    let y = pick(k, imm(f32::NEG_INFINITY), y, zero);
    let negative = test(k, "lt", x, imm(0.0));
    pick(k, imm(f32::NAN), y, negative)
}

/// `ln(1 + x)` for `x ≥ 0`.
fn log_1p(k: &mut Emitter, x: Reg) -> Reg {
    let u = binary(k, "add.rn.f32", x, imm(1.0));
    let exact = test(k, "eq", u, imm(1.0));
    let used = binary(k, "add.rn.f32", u, imm(-1.0));
    let used = pick(k, imm(1.0), used, exact);
    let ratio = binary(k, "div.rn.f32", x, used);
    let y = log(k, u);
    let y = binary(k, "mul.rn.f32", y, ratio);
    pick(k, x, y, exact)
}

/// `eˣ - 1`.
pub(super) fn exp_m1(k: &mut Emitter, x: Reg) -> Reg {
    let u = exp(k, x);
    let exact = test(k, "eq", u, imm(1.0));
    let less = binary(k, "add.rn.f32", u, imm(-1.0));
    let bottom = test(k, "eq", less, imm(-1.0));
    let l = log(k, u);
    let l = pick(k, imm(1.0), l, exact);
    let ratio = binary(k, "div.rn.f32", x, l);
    let y = binary(k, "mul.rn.f32", less, ratio);
    let y = pick(k, imm(-1.0), y, bottom);
    let y = pick(k, x, y, exact);
    let big = test(k, "gt", x, imm(80.0));
    pick(k, less, y, big)
}

/// `tanh x`.
pub(super) fn tanh(k: &mut Emitter, x: Reg) -> Reg {
    let size = unary(k, "abs.f32", x);
    let double = binary(k, "add.rn.f32", size, size);
    let e = exp(k, double);
    let e = binary(k, "add.rn.f32", e, imm(1.0));
    let far = binary(k, "div.rn.f32", imm(-2.0), e);
    let far = binary(k, "add.rn.f32", far, imm(1.0));
    let far = with_sign(k, far, x);
    let z = binary(k, "mul.rn.f32", x, x);
    let near = polynomial(
        k,
        z,
        &[
            -3.333_328_194_22e-1,
            1.333_144_220_36e-1,
            -5.373_971_555_31e-2,
            2.063_908_879_54e-2,
            -5.704_988_727_45e-3,
        ],
    );
    let near = binary(k, "mul.rn.f32", near, z);
    let near = fma(k, near, x, x);
    let large = test(k, "ge", size, imm(0.625));
    pick(k, far, near, large)
}

/// Returns the magnitude of `value` with the sign of `sign`.
fn with_sign(k: &mut Emitter, value: Reg, sign: Reg) -> Reg {
    let (v, s, d) = (k.r(), k.r(), k.f());
    op!(k, "mov.b32 {v}, {value}");
    op!(k, "mov.b32 {s}, {sign}");
    op!(k, "and.b32 {v}, {v}, 0x7fffffff");
    op!(k, "and.b32 {s}, {s}, 0x80000000");
    op!(k, "or.b32 {v}, {v}, {s}");
    op!(k, "mov.b32 {d}, {v}");
    d
}

/// `1 / (1 + e⁻ˣ)`.
pub(super) fn sigmoid(k: &mut Emitter, x: Reg) -> Reg {
    let size = unary(k, "abs.f32", x);
    let minus = unary(k, "neg.f32", size);
    let e = exp(k, minus);
    let denominator = binary(k, "add.rn.f32", e, imm(1.0));
    let positive = unary(k, "rcp.rn.f32", denominator);
    let negative = binary(k, "mul.rn.f32", e, positive);
    let p = test(k, "ge", x, imm(0.0));
    pick(k, positive, negative, p)
}

/// `ln(1 + eˣ)`.
pub(super) fn softplus(k: &mut Emitter, x: Reg) -> Reg {
    let size = unary(k, "abs.f32", x);
    let minus = unary(k, "neg.f32", size);
    let e = exp(k, minus);
    let l = log_1p(k, e);
    let positive = binary(k, "max.NaN.f32", x, imm(0.0));
    binary(k, "add.rn.f32", positive, l)
}

/// `erf x`.
pub(super) fn erf(k: &mut Emitter, x: Reg) -> Reg {
    let z = binary(k, "mul.rn.f32", x, x);
    let near = polynomial(
        k,
        z,
        &[
            1.128_379_167_126_71,
            -3.761_262_582_423_3e-1,
            1.128_358_514_861_418e-1,
            -2.685_381_193_529_856e-2,
            5.188_327_685_732_524e-3,
            -8.010_193_625_184_903e-4,
            7.853_861_353_153_693e-5,
        ],
    );
    let near = binary(k, "mul.rn.f32", near, x);
    let size = unary(k, "abs.f32", x);
    let half = fma(k, size, imm(0.5), imm(1.0));
    let t = unary(k, "rcp.rn.f32", half);
    let p = polynomial(
        k,
        t,
        &[
            -1.265_512_23,
            1.000_023_68,
            0.374_091_96,
            0.096_784_18,
            -0.186_288_06,
            0.278_868_07,
            -1.135_203_98,
            1.488_515_87,
            -0.822_152_23,
            0.170_872_77,
        ],
    );
    let minus = unary(k, "neg.f32", z);
    let power = binary(k, "add.rn.f32", minus, p);
    let e = exp(k, power);
    let tail = binary(k, "mul.rn.f32", t, e);
    let minus = unary(k, "neg.f32", tail);
    let far = binary(k, "add.rn.f32", minus, imm(1.0));
    let far = with_sign(k, far, x);
    let small = test(k, "le", size, imm(1.0));
    let y = pick(k, near, far, small);
    let nan = test(k, "nan", x, x);
    pick(k, x, y, nan)
}

/// `sin(x + turns · π/2)`.
pub(super) fn sine(k: &mut Emitter, x: Reg, turns: u32) -> Reg {
    let (wide, n, r) = (k.g(), k.g(), k.g());
    let q = k.r();
    op!(k, "cvt.f64.f32 {wide}, {x}");
    op!(k, "mul.rn.f64 {n}, {wide}, {}", imm64(std::f64::consts::FRAC_2_PI));
    op!(k, "cvt.rni.f64.f64 {n}, {n}");
    op!(k, "cvt.rzi.s32.f64 {q}, {n}");
    op!(k, "neg.f64 {n}, {n}");
    op!(k, "fma.rn.f64 {r}, {n}, {}, {wide}", imm64(std::f64::consts::FRAC_PI_2));
    op!(k, "fma.rn.f64 {r}, {n}, {}, {r}", imm64(6.123_233_995_736_766e-17));
    let angle = unary(k, "cvt.rn.f32.f64", r);
    if turns > 0 {
        op!(k, "add.u32 {q}, {q}, {turns}");
    }
    let z = binary(k, "mul.rn.f32", angle, angle);
    let s = polynomial(k, z, &[-1.666_665_461_1e-1, 8.332_160_873_6e-3, -1.951_529_589_1e-4]);
    let s = binary(k, "mul.rn.f32", s, z);
    let s = fma(k, s, angle, angle);
    let c =
        polynomial(k, z, &[4.166_664_568_298_827e-2, -1.388_731_625_493_765e-3, 2.443_315_711_809_948e-5]);
    let c = binary(k, "mul.rn.f32", c, z);
    let c = fma(k, c, z, imm(1.0));
    let c = fma(k, z, imm(-0.5), c);
    let (odd, flip, p) = (k.r(), k.r(), k.p());
    op!(k, "and.b32 {odd}, {q}, 1");
    op!(k, "setp.ne.u32 {p}, {odd}, 0");
    let y = pick(k, c, s, p);
    op!(k, "and.b32 {flip}, {q}, 2");
    op!(k, "shl.b32 {flip}, {flip}, 30");
    let (bits, d) = (k.r(), k.f());
    op!(k, "mov.b32 {bits}, {y}");
    op!(k, "xor.b32 {bits}, {bits}, {flip}");
    op!(k, "mov.b32 {d}, {bits}");
    d
}

/// Returns -1, 0 or 1; NaN stays NaN.
pub(super) fn sign(k: &mut Emitter, x: Reg) -> Reg {
    let unit = unary(k, "mov.f32", imm(1.0));
    let unit = with_sign(k, unit, x);
    let size = unary(k, "abs.f32", x);
    let p = test(k, "gt", size, imm(0.0));
    pick(k, unit, x, p)
}

/// `a - b · ⌊a / b⌋`.
pub(super) fn modulo(k: &mut Emitter, a: Reg, b: Reg) -> Reg {
    let (x, y, q) = (k.g(), k.g(), k.g());
    op!(k, "cvt.f64.f32 {x}, {a}");
    op!(k, "cvt.f64.f32 {y}, {b}");
    op!(k, "div.rn.f64 {q}, {x}, {y}");
    op!(k, "cvt.rmi.f64.f64 {q}, {q}");
    op!(k, "neg.f64 {q}, {q}");
    op!(k, "fma.rn.f64 {x}, {q}, {y}, {x}");
    unary(k, "cvt.rn.f32.f64", x)
}

/// `aᵇ`.
pub(super) fn pow(k: &mut Emitter, a: Reg, b: Reg) -> Reg {
    let size = unary(k, "abs.f32", a);
    let wide = log2_wide(k, size);
    let y = k.g();
    op!(k, "cvt.f64.f32 {y}, {b}");
    op!(k, "mul.rn.f64 {y}, {y}, {wide}");
    let undefined = k.p();
    op!(k, "setp.nan.f64 {undefined}, {y}, {y}");
    let value = exp2_wide(k, y);
    let value = pick(k, imm(f32::NAN), value, undefined);
    // An odd power of a negative number is negative. A fractional power is NaN, except for -∞, where it is that of ∞.
    let negative = test(k, "lt", a, imm(0.0));
    let whole = unary(k, "cvt.rni.f32.f32", b);
    let real = test(k, "eq", whole, b);
    let half = binary(k, "mul.rn.f32", b, imm(0.5));
    let half_whole = unary(k, "cvt.rni.f32.f32", half);
    let even = test(k, "eq", half_whole, half);
    let minus = unary(k, "neg.f32", value);
    let odd = pick(k, value, minus, even);
    let infinite = test(k, "eq", size, imm(f32::INFINITY));
    let unreal = pick(k, value, imm(f32::NAN), infinite);
    let signed = pick(k, odd, unreal, real);
    let value = pick(k, signed, value, negative);
    let is_one = test(k, "eq", a, imm(1.0));
    let value = pick(k, imm(1.0), value, is_one);
    // -1 to an infinite power is 1.
    let (unit, far) = (test(k, "eq", size, imm(1.0)), k.p());
    let distance = unary(k, "abs.f32", b);
    op!(k, "setp.eq.and.f32 {far}, {distance}, {}, {unit}", imm(f32::INFINITY));
    let value = pick(k, imm(1.0), value, far);
    let zero = test(k, "eq", b, imm(0.0));
    pick(k, imm(1.0), value, zero)
}

/// Computes `log₂ x` for `x ≥ 0` in float64.
fn log2_wide(k: &mut Emitter, x: Reg) -> Reg {
    let (wide, m, s, up) = (k.g(), k.g(), k.g(), k.g());
    let (bits, high) = (k.d(), k.d());
    let (e, e_wide) = (k.r(), k.g());
    op!(k, "cvt.f64.f32 {wide}, {x}");
    op!(k, "mov.b64 {bits}, {wide}");
    op!(k, "sub.u64 {high}, {bits}, 0x3fe6a09e667f3bcd");
    op!(k, "shr.s64 {high}, {high}, 52");
    op!(k, "cvt.u32.u64 {e}, {high}");
    op!(k, "shl.b64 {high}, {high}, 52");
    op!(k, "sub.u64 {bits}, {bits}, {high}");
    op!(k, "mov.b64 {m}, {bits}");
    op!(k, "cvt.rn.f64.s32 {e_wide}, {e}");
    op!(k, "add.rn.f64 {s}, {m}, {}", imm64(-1.0));
    op!(k, "add.rn.f64 {up}, {m}, {}", imm64(1.0));
    op!(k, "div.rn.f64 {s}, {s}, {up}");
    let z = k.g();
    op!(k, "mul.rn.f64 {z}, {s}, {s}");
    let scale = 2.0 * std::f64::consts::LOG2_E;
    let series: Vec<f64> = (0..8).map(|i| scale / f64::from(2 * i + 1)).collect();
    let p = polynomial64(k, z, &series);
    op!(k, "fma.rn.f64 {p}, {p}, {s}, {e_wide}");
    let (zero, infinite) = (test(k, "eq", x, imm(0.0)), test(k, "eq", x, imm(f32::INFINITY)));
    op!(k, "selp.f64 {p}, {}, {p}, {zero}", imm64(f64::NEG_INFINITY));
    op!(k, "selp.f64 {p}, {}, {p}, {infinite}", imm64(f64::INFINITY));
    let nan = test(k, "nan", x, x);
    op!(k, "selp.f64 {p}, {wide}, {p}, {nan}");
    p
}

/// Computes `2ʸ` of a float64 and rounds it to float32.
fn exp2_wide(k: &mut Emitter, y: Reg) -> Reg {
    let (n, f) = (k.g(), k.g());
    op!(k, "max.f64 {f}, {y}, {}", imm64(-300.0));
    op!(k, "min.f64 {f}, {f}, {}", imm64(300.0));
    op!(k, "cvt.rni.f64.f64 {n}, {f}");
    op!(k, "sub.rn.f64 {f}, {f}, {n}");
    let mut factor = 1.0;
    let series: Vec<f64> = (0..11)
        .map(|i| {
            let term = factor;
            factor *= std::f64::consts::LN_2 / f64::from(i + 1);
            term
        })
        .collect();
    let p = polynomial64(k, f, &series);
    let (e, scale, bits) = (k.r(), k.g(), k.d());
    op!(k, "cvt.rzi.s32.f64 {e}, {n}");
    op!(k, "add.u32 {e}, {e}, 1023");
    op!(k, "cvt.u64.u32 {bits}, {e}");
    op!(k, "shl.b64 {bits}, {bits}, 52");
    op!(k, "mov.b64 {scale}, {bits}");
    op!(k, "mul.rn.f64 {p}, {p}, {scale}");
    unary(k, "cvt.rn.f32.f64", p)
}
