//! Instructions without side effects.

use super::join;
use crate::program::Op;

fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}

fn g(bits: u64) -> f64 {
    f64::from_bits(bits)
}

macro_rules! un32 {
    ($f:expr) => {
        Op::Un32(|a, d| {
            for l in 0..32 {
                d[l] = $f(a[l]);
            }
        })
    };
}
macro_rules! bin32 {
    ($f:expr) => {
        Op::Bin32(|a, b, d| {
            for l in 0..32 {
                d[l] = $f(a[l], b[l]);
            }
        })
    };
}
macro_rules! tri32 {
    ($f:expr) => {
        Op::Tri32(|a, b, c, d| {
            for l in 0..32 {
                d[l] = $f(a[l], b[l], c[l]);
            }
        })
    };
}
macro_rules! un64 {
    ($f:expr) => {
        Op::Un64(|a, d| {
            for l in 0..32 {
                d[l] = $f(a[l]);
            }
        })
    };
}
macro_rules! bin64 {
    ($f:expr) => {
        Op::Bin64(|a, b, d| {
            for l in 0..32 {
                d[l] = $f(a[l], b[l]);
            }
        })
    };
}
macro_rules! tri64 {
    ($f:expr) => {
        Op::Tri64(|a, b, c, d| {
            for l in 0..32 {
                d[l] = $f(a[l], b[l], c[l]);
            }
        })
    };
}
macro_rules! widen {
    ($f:expr) => {
        Op::Widen(|a, d| {
            for l in 0..32 {
                d[l] = $f(a[l]);
            }
        })
    };
}
macro_rules! narrow {
    ($f:expr) => {
        Op::Narrow(|a, d| {
            for l in 0..32 {
                d[l] = $f(a[l]);
            }
        })
    };
}
macro_rules! float32 {
    ($f:expr) => {
        bin32!(|a: u32, b: u32| canonical(($f)(f(a), f(b))))
    };
}
macro_rules! float64 {
    ($f:expr) => {
        bin64!(|a: u64, b: u64| ($f)(g(a), g(b)).to_bits())
    };
}

/// Returns the operation of an instruction, given the parts of its name; `None` for an unknown instruction.
pub(super) fn op(words: &[&str]) -> Option<Op> {
    if words.first() == Some(&"setp") {
        return compare(words);
    }
    Some(match words {
        ["mov", "u32" | "b32" | "f32" | "b16"] => un32!(|a| a),
        ["mov", "b64" | "f64"] => un64!(|a| a),
        ["add", "u32"] => bin32!(u32::wrapping_add),
        ["sub", "u32"] => bin32!(u32::wrapping_sub),
        ["mul", "lo", "u32"] => bin32!(u32::wrapping_mul),
        ["mad", "lo", "u32"] => tri32!(|a: u32, b, c| a.wrapping_mul(b).wrapping_add(c)),
        ["mad", "wide", "s32"] => Op::MadWide,
        // Hardware returns all ones for a division by 0.
        ["div", "u32"] => bin32!(|a: u32, b: u32| a.checked_div(b).unwrap_or(u32::MAX)),
        ["and", "b32"] => bin32!(|a, b| a & b),
        ["or", "b32"] => bin32!(|a, b| a | b),
        ["xor", "b32"] => bin32!(|a, b| a ^ b),
        ["and", "pred"] => bin32!(|a, b| a & b),
        ["shl", "b32"] => bin32!(|a: u32, b: u32| a.checked_shl(b).unwrap_or(0)),
        ["shr", "u32"] => bin32!(|a: u32, b: u32| a.checked_shr(b).unwrap_or(0)),
        ["shr", "s32"] => bin32!(|a: u32, b: u32| ((a as i32) >> b.min(31)) as u32),
        ["min", "u32"] => bin32!(|a: u32, b: u32| a.min(b)),
        ["max", "s32"] => bin32!(|a: u32, b: u32| (a as i32).max(b as i32) as u32),
        ["min", "s32"] => bin32!(|a: u32, b: u32| (a as i32).min(b as i32) as u32),
        ["add", "s64" | "u64"] => bin64!(u64::wrapping_add),
        ["sub", "s64" | "u64"] => bin64!(u64::wrapping_sub),
        ["mul", "lo", "s64"] => bin64!(u64::wrapping_mul),
        ["mad", "lo", "s64"] => tri64!(|a: u64, b, c| a.wrapping_mul(b).wrapping_add(c)),
        ["div", "s64"] => bin64!(|a: u64, b: u64| (a as i64).checked_div(b as i64).unwrap_or(-1) as u64),
        ["and", "b64"] => bin64!(|a, b| a & b),
        ["or", "b64"] => bin64!(|a, b| a | b),
        ["xor", "b64"] => bin64!(|a, b| a ^ b),
        ["max", "s64"] => bin64!(|a: u64, b: u64| (a as i64).max(b as i64) as u64),
        ["min", "s64"] => bin64!(|a: u64, b: u64| (a as i64).min(b as i64) as u64),
        ["abs", "s64"] => un64!(|a: u64| (a as i64).wrapping_abs() as u64),
        ["shl", "b64"] => Op::Shift64(|a, b| a.checked_shl(b).unwrap_or(0)),
        ["shr", "u64"] => Op::Shift64(|a, b| a.checked_shr(b).unwrap_or(0)),
        ["shr", "s64"] => Op::Shift64(|a, b| ((a as i64) >> b.min(63)) as u64),
        ["selp", "u32" | "b32" | "f32"] => Op::Select32,
        ["selp", "b64" | "f64"] => Op::Select64,
        ["add", "rn", "f32"] => float32!(|a: f32, b: f32| a + b),
        ["sub", "rn", "f32"] => float32!(|a: f32, b: f32| a - b),
        ["mul", "rn", "f32"] => float32!(|a: f32, b: f32| a * b),
        ["div", "rn", "f32"] => float32!(|a: f32, b: f32| a / b),
        ["div", "full", "f32"] => bin32!(|a, b| approximate(f(a) / f(b), a ^ b)),
        ["max", "f32"] => float32!(max),
        ["min", "f32"] => float32!(min),
        ["max", "NaN", "f32"] => {
            float32!(|a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { max(a, b) })
        }
        ["min", "NaN", "f32"] => {
            float32!(|a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { min(a, b) })
        }
        ["fma", "rn", "f32"] => tri32!(|a, b, c| canonical(f(a).mul_add(f(b), f(c)))),
        ["abs", "f32"] => un32!(|a| a & 0x7fff_ffff),
        ["neg", "f32"] => un32!(|a| a ^ 0x8000_0000),
        ["sqrt", "rn", "f32"] => un32!(|a| canonical(f(a).sqrt())),
        ["rcp", "rn", "f32"] => un32!(|a| canonical(1.0 / f(a))),
        ["ex2", "approx", "f32"] => un32!(|a| approximate(f64::from(f(a)).exp2() as f32, a)),
        ["cvt", "rni", "f32", "f32"] => un32!(|a| f(a).round_ties_even().to_bits()),
        ["cvt", "rmi", "f32", "f32"] => un32!(|a| f(a).floor().to_bits()),
        ["cvt", "rpi", "f32", "f32"] => un32!(|a| f(a).ceil().to_bits()),
        ["cvt", "rna", "tf32", "f32"] => un32!(tf32),
        ["cvt", "rn", "f32", "s32"] => un32!(|a| (a as i32 as f32).to_bits()),
        ["cvt", "rn", "f32", "u32"] => un32!(|a| (a as f32).to_bits()),
        ["cvt", "rn", "f16", "f32"] => un32!(|a| half(f(a))),
        ["cvt", "f32", "f16"] => un32!(|a| unhalf(a).to_bits()),
        ["cvt", "rn", "bf16", "f32"] => un32!(bfloat),
        ["cvt", "rn", "f16x2", "f32"] => bin32!(|upper, lower| half(f(upper)) << 16 | half(f(lower))),
        ["cvt", "rn", "bf16x2", "f32"] => bin32!(|upper, lower| bfloat(upper) << 16 | bfloat(lower)),
        ["cvt", "u32", "u16"] => un32!(|a| a & 0xffff),
        ["add", "rn", "f64"] => float64!(|a: f64, b: f64| a + b),
        ["sub", "rn", "f64"] => float64!(|a: f64, b: f64| a - b),
        ["mul", "rn", "f64"] => float64!(|a: f64, b: f64| a * b),
        ["div", "rn", "f64"] => float64!(|a: f64, b: f64| a / b),
        ["max", "f64"] => float64!(max64),
        ["min", "f64"] => float64!(min64),
        ["fma", "rn", "f64"] => tri64!(|a, b, c| g(a).mul_add(g(b), g(c)).to_bits()),
        ["neg", "f64"] => un64!(|a| a ^ (1 << 63)),
        ["cvt", "rni", "f64", "f64"] => un64!(|a| g(a).round_ties_even().to_bits()),
        ["cvt", "rmi", "f64", "f64"] => un64!(|a| g(a).floor().to_bits()),
        ["cvt", "f64", "f32"] => widen!(|a| f64::from(f(a)).to_bits()),
        ["cvt", "rn", "f64", "s32"] => widen!(|a| f64::from(a as i32).to_bits()),
        ["cvt", "u64", "u32"] => widen!(u64::from),
        ["cvt", "rn", "f32", "f64"] => narrow!(|a| (g(a) as f32).to_bits()),
        ["cvt", "rzi", "s32", "f64"] => narrow!(|a| g(a) as i32 as u32),
        ["cvt", "u32", "u64"] => narrow!(|a| a as u32),
        ["cvt", "rn", "f32", "s64"] => narrow!(|a| (a as i64 as f32).to_bits()),
        // The result for NaN is undefined on hardware; kernels must not rely on this one.
        ["cvt", "rzi", "s64", "f32"] => {
            widen!(|a| if f(a).is_nan() { 1 << 63 } else { f(a) as i64 as u64 })
        }
        ["cvt", "rzi", "u64", "f32"] => widen!(|a| if f(a).is_nan() { 1 << 63 } else { f(a) as u64 }),
        _ => return None,
    })
}

macro_rules! c32 {
    ($join:expr, $f:expr) => {
        Op::Compare32(
            |a, b, d| {
                for l in 0..32 {
                    d[l] = u32::from($f(a[l], b[l]));
                }
            },
            $join,
        )
    };
}
macro_rules! c64 {
    ($join:expr, $f:expr) => {
        Op::Compare64(
            |a, b, d| {
                for l in 0..32 {
                    d[l] = u32::from($f(a[l], b[l]));
                }
            },
            $join,
        )
    };
}

fn compare(words: &[&str]) -> Option<Op> {
    let (join, words) = join(words);
    Some(match words.as_slice() {
        ["setp", "eq", "u32"] => c32!(join, |a, b| a == b),
        ["setp", "ne", "u32"] => c32!(join, |a, b| a != b),
        ["setp", "lt", "u32"] => c32!(join, |a, b| a < b),
        ["setp", "ge", "u32"] => c32!(join, |a, b| a >= b),
        ["setp", "gt", "u32"] => c32!(join, |a, b| a > b),
        ["setp", "eq", "f32"] => c32!(join, |a, b| f(a) == f(b)),
        ["setp", "neu", "f32"] => c32!(join, |a, b| f(a) != f(b)),
        ["setp", "lt", "f32"] => c32!(join, |a, b| f(a) < f(b)),
        ["setp", "le", "f32"] => c32!(join, |a, b| f(a) <= f(b)),
        ["setp", "gt", "f32"] => c32!(join, |a, b| f(a) > f(b)),
        ["setp", "ge", "f32"] => c32!(join, |a, b| f(a) >= f(b)),
        ["setp", "nan", "f32"] => c32!(join, |a, b| f(a).is_nan() || f(b).is_nan()),
        ["setp", "eq", "s64" | "u64"] => c64!(join, |a, b| a == b),
        ["setp", "ne", "s64"] => c64!(join, |a, b| a != b),
        ["setp", "lt", "s64"] => c64!(join, |a, b| (a as i64) < b as i64),
        ["setp", "le", "s64"] => c64!(join, |a, b| a as i64 <= b as i64),
        ["setp", "gt", "s64"] => c64!(join, |a, b| a as i64 > b as i64),
        ["setp", "lt", "u64"] => c64!(join, |a, b| a < b),
        ["setp", "le", "f64"] => c64!(join, |a, b| g(a) <= g(b)),
        ["setp", "nan", "f64"] => c64!(join, |a, b| g(a).is_nan() || g(b).is_nan()),
        _ => return None,
    })
}

/// Returns the bits of a result. There is one NaN.
fn canonical(v: f32) -> u32 {
    if v.is_nan() { 0x7fff_ffff } else { v.to_bits() }
}

/// Returns the larger number; of zeros the positive one, and of a number and NaN the number.
fn max(a: f32, b: f32) -> f32 {
    // Equal numbers have equal bits, unless they are zeros.
    if a == b { f32::from_bits(a.to_bits() & b.to_bits()) } else { a.max(b) }
}

/// Returns the smaller number; of zeros the negative one, and of a number and NaN the number.
fn min(a: f32, b: f32) -> f32 {
    if a == b { f32::from_bits(a.to_bits() | b.to_bits()) } else { a.min(b) }
}

fn max64(a: f64, b: f64) -> f64 {
    if a == b { f64::from_bits(a.to_bits() & b.to_bits()) } else { a.max(b) }
}

fn min64(a: f64, b: f64) -> f64 {
    if a == b { f64::from_bits(a.to_bits() | b.to_bits()) } else { a.min(b) }
}

/// Returns a result that is off by one unit in the last place for half of all operands.
fn approximate(exact: f32, operand: u32) -> u32 {
    let bits = exact.to_bits();
    let off = operand.wrapping_mul(0x9e37_79b9) >> 31;
    if exact.is_normal() { bits ^ off } else { bits }
}

/// Rounds to 10 bits of mantissa, ties away from zero. NaN keeps its upper bits.
fn tf32(bits: u32) -> u32 {
    let rounded = if f(bits).is_nan() { bits } else { bits.wrapping_add(0x1000) };
    rounded & 0xffff_e000
}

/// Rounds to bfloat16, ties to even.
fn bfloat(bits: u32) -> u32 {
    if f(bits).is_nan() {
        return 0x7fff;
    }
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// Rounds to float16, ties to even.
fn half(x: f32) -> u32 {
    let sign = x.to_bits() >> 16 & 0x8000;
    let size = x.abs();
    if x.is_nan() {
        return 0x7fff;
    }
    if size >= 65520.0 {
        return sign | 0x7c00;
    }
    // Round to a multiple of the unit in the last place of the float16.
    let exponent = (size.to_bits() >> 23).max(113);
    let unit = f64::from(f32::from_bits((exponent - 10) << 23));
    let units = (f64::from(size) / unit).round_ties_even() as u32;
    sign | (((exponent - 113) << 10) + units)
}

/// Converts a float16 to a float32.
fn unhalf(bits: u32) -> f32 {
    let (sign, exponent, mantissa) = (bits >> 15 & 1, bits >> 10 & 31, bits & 1023);
    let size = match exponent {
        0 => mantissa as f32 * 2f32.powi(-24),
        31 if mantissa != 0 => f32::NAN,
        31 => f32::INFINITY,
        e => f32::from_bits((e + 112) << 23 | mantissa << 13),
    };
    if sign == 1 { -size } else { size }
}
