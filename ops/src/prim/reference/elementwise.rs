//! Elementwise functions, selection and conversion.

use half::{bf16, f16};
use ndarray::ArrayD;

use super::layout::{array, broadcast_values, wrong_kind};
use crate::OpError;
use crate::prim::{Binary, Unary};
use crate::tensor::{Array, DType};

/// `f(x)`.
pub(super) fn unary(f: Unary, x: &Array) -> Result<Array, OpError> {
    match x {
        Array::F(v) => {
            if f == Unary::Not {
                return Err(wrong_kind("bool", x));
            }
            Ok(Array::F(v.mapv(|v| unary_float(f, v))))
        }
        Array::I(v) => {
            let g = unary_integer(f).ok_or_else(|| wrong_kind("a float type", x))?;
            Ok(Array::I(v.mapv(g)))
        }
        Array::B(v) if f == Unary::Not => Ok(Array::B(v.mapv(|v| !v))),
        Array::B(_) => Err(wrong_kind("a float type", x)),
    }
}

fn unary_float(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Abs => x.abs(),
        Unary::Neg => -x,
        Unary::Sign if x == 0.0 || x.is_nan() => x,
        Unary::Sign => x.signum(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Erf => libm::erf(x),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid if x >= 0.0 => 1.0 / (1.0 + (-x).exp()),
        Unary::Sigmoid => x.exp() / (1.0 + x.exp()),
        Unary::Relu => clip(x, 0.0, f64::INFINITY),
        Unary::LeakyRelu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x
            }
        }
        Unary::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x.exp_m1()
            }
        }
        Unary::HardSigmoid { alpha, beta } => clip(f64::from(alpha) * x + f64::from(beta), 0.0, 1.0),
        Unary::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Clip { min, max } => {
            clip(x, min.map_or(f64::NEG_INFINITY, f64::from), max.map_or(f64::INFINITY, f64::from))
        }
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        // `unary` refuses it for floats.
        Unary::Not => f64::NAN,
    }
}

/// `min(max(x, min), max)` that keeps NaN.
fn clip(x: f64, min: f64, max: f64) -> f64 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

fn unary_integer(f: Unary) -> Option<Box<dyn Fn(i64) -> i64>> {
    Some(match f {
        Unary::Abs => Box::new(i64::wrapping_abs),
        Unary::Neg => Box::new(i64::wrapping_neg),
        Unary::Sign => Box::new(i64::signum),
        Unary::Relu => Box::new(|x| x.max(0)),
        Unary::Clip { min, max } => {
            let min = min.filter(|m| !m.is_nan()).map_or(i64::MIN, |m| m.ceil() as i64);
            let max = max.filter(|m| !m.is_nan()).map_or(i64::MAX, |m| m.floor() as i64);
            Box::new(move |x| x.max(min).min(max))
        }
        Unary::Exp | Unary::Log | Unary::Sqrt | Unary::Reciprocal | Unary::Erf | Unary::Tanh => return None,
        Unary::Sigmoid | Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::HardSigmoid { .. } => {
            return None;
        }
        Unary::HardSwish | Unary::Softplus | Unary::Softsign | Unary::Floor | Unary::Ceil => return None,
        Unary::Round | Unary::Sin | Unary::Cos | Unary::Not => return None,
    })
}

/// `f(a, b)`, both broadcast to `dims`.
pub(super) fn binary(f: Binary, a: &Array, b: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match (a, b) {
        (Array::F(x), Array::F(y)) => {
            if let Some(g) = comparison(f) {
                return zip(x, y, dims, &0.0, |a, b| Ok(g(&a, &b))).map(Array::B);
            }
            let g = float_function(f).ok_or_else(|| wrong_kind("bool", a))?;
            zip(x, y, dims, &0.0, |a, b| Ok(g(a, b))).map(Array::F)
        }
        (Array::I(x), Array::I(y)) => {
            if let Some(g) = comparison(f) {
                return zip(x, y, dims, &0, |a, b| Ok(g(&a, &b))).map(Array::B);
            }
            let g = integer_function(f).ok_or_else(|| wrong_kind("bool", a))?;
            zip(x, y, dims, &0, g).map(Array::I)
        }
        (Array::B(x), Array::B(y)) => {
            let g = bool_function(f).ok_or_else(|| wrong_kind("a number type", a))?;
            zip(x, y, dims, &false, |a, b| Ok(g(a, b))).map(Array::B)
        }
        (Array::F(_) | Array::I(_) | Array::B(_), _) => Err(two_kinds()),
    }
}

fn comparison<T: PartialOrd>(f: Binary) -> Option<fn(&T, &T) -> bool> {
    match f {
        Binary::Equal => Some(T::eq),
        Binary::Less => Some(T::lt),
        Binary::LessOrEqual => Some(T::le),
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::GuardedDiv | Binary::Pow => None,
        Binary::Min | Binary::Max | Binary::Mod | Binary::And | Binary::Or | Binary::Xor => None,
    }
}

fn bool_function(f: Binary) -> Option<fn(bool, bool) -> bool> {
    match f {
        Binary::Equal => Some(|a, b| a == b),
        Binary::And => Some(|a, b| a && b),
        Binary::Or => Some(|a, b| a || b),
        Binary::Xor => Some(|a, b| a != b),
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::GuardedDiv | Binary::Pow => None,
        Binary::Min | Binary::Max | Binary::Mod | Binary::Less | Binary::LessOrEqual => None,
    }
}

fn two_kinds() -> OpError {
    OpError::Invalid("operands have different element types".into())
}

fn float_function(f: Binary) -> Option<fn(f64, f64) -> f64> {
    Some(match f {
        Binary::Add => |a, b| a + b,
        Binary::Sub => |a, b| a - b,
        Binary::Mul => |a, b| a * b,
        Binary::Div => |a, b| a / b,
        Binary::GuardedDiv => |a, b| if b == 0.0 { 0.0 } else { a / b },
        Binary::Pow => f64::powf,
        Binary::Min => f64::min,
        Binary::Max => f64::max,
        Binary::Mod => |a, b| a - b * (a / b).floor(),
        Binary::Equal | Binary::Less | Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => {
            return None;
        }
    })
}

type IntegerFunction = fn(i64, i64) -> Result<i64, OpError>;

fn integer_function(f: Binary) -> Option<IntegerFunction> {
    Some(match f {
        Binary::Add => |a, b| Ok(a.wrapping_add(b)),
        Binary::Sub => |a, b| Ok(a.wrapping_sub(b)),
        Binary::Mul => |a, b| Ok(a.wrapping_mul(b)),
        Binary::Div => |a, b| if b == 0 { Err(zero_divisor()) } else { Ok(a.wrapping_div(b)) },
        Binary::GuardedDiv => |a, b| Ok(if b == 0 { 0 } else { a.wrapping_div(b) }),
        Binary::Pow => power,
        Binary::Min => |a, b| Ok(a.min(b)),
        Binary::Max => |a, b| Ok(a.max(b)),
        Binary::Mod => |a, b| {
            if b == 0 {
                return Err(zero_divisor());
            }
            let rest = a.wrapping_rem(b);
            Ok(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        },
        Binary::Equal | Binary::Less | Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => {
            return None;
        }
    })
}

fn zero_divisor() -> OpError {
    OpError::Invalid("integer division by 0".into())
}

/// `base` to the `exponent`, truncated towards zero when the exponent is negative.
fn power(base: i64, exponent: i64) -> Result<i64, OpError> {
    if exponent < 0 {
        return match base {
            0 => Err(OpError::Invalid(format!("0 to the power {exponent}"))),
            1 => Ok(1),
            -1 => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Ok(0),
        };
    }
    let (mut result, mut square, mut rest) = (1i64, base, exponent);
    while rest > 0 {
        if rest % 2 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        rest /= 2;
    }
    Ok(result)
}

fn zip<T: Copy, U>(
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    dims: &[usize],
    fill: &T,
    f: impl Fn(T, T) -> Result<U, OpError>,
) -> Result<ArrayD<U>, OpError> {
    let (a, b) = (broadcast_values(a, dims, fill), broadcast_values(b, dims, fill));
    let out: Result<Vec<U>, OpError> = a.iter().zip(b.iter()).map(|(a, b)| f(*a, *b)).collect();
    array(dims, out?)
}

/// `where(condition, a, b)`, all broadcast to `dims`.
pub(super) fn select(condition: &Array, a: &Array, b: &Array, dims: &[usize]) -> Result<Array, OpError> {
    let Array::B(c) = condition else { return Err(wrong_kind("bool", condition)) };
    match (a, b) {
        (Array::F(a), Array::F(b)) => choose(c, a, b, dims, &0.0).map(Array::F),
        (Array::I(a), Array::I(b)) => choose(c, a, b, dims, &0).map(Array::I),
        (Array::B(a), Array::B(b)) => choose(c, a, b, dims, &false).map(Array::B),
        (Array::F(_) | Array::I(_) | Array::B(_), _) => Err(two_kinds()),
    }
}

fn choose<T: Copy>(
    condition: &ArrayD<bool>,
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    dims: &[usize],
    fill: &T,
) -> Result<ArrayD<T>, OpError> {
    let condition = broadcast_values(condition, dims, &false);
    let (a, b) = (broadcast_values(a, dims, fill), broadcast_values(b, dims, fill));
    let pairs = a.iter().zip(b.iter());
    array(dims, condition.iter().zip(pairs).map(|(c, (a, b))| if *c { *a } else { *b }).collect())
}

/// `x` as `to`: floats truncate to integers, integers keep the low bits, what is not 0 is true.
pub(super) fn cast(x: &Array, to: DType) -> Array {
    match (x, to) {
        (Array::B(x), DType::Bool) => Array::B(x.clone()),
        (Array::F(x), DType::Bool) => Array::B(x.mapv(|v| v != 0.0)),
        (Array::I(x), DType::Bool) => Array::B(x.mapv(|v| v != 0)),
        (Array::F(x), to) if to.is_float() => Array::F(x.mapv(|v| round(v, to))),
        (Array::I(x), to) if to.is_float() => Array::F(x.mapv(|v| round(v as f64, to))),
        (Array::B(x), to) if to.is_float() => Array::F(x.mapv(|v| f64::from(u8::from(v)))),
        (Array::F(x), to) => Array::I(x.mapv(|v| narrow(truncate(v), to))),
        (Array::I(x), to) => Array::I(x.mapv(|v| narrow(v, to))),
        (Array::B(x), _) => Array::I(x.mapv(i64::from)),
    }
}

/// Towards zero. From 2^63 on the bits are those of an unsigned integer, which is how arrays hold them.
fn truncate(v: f64) -> i64 {
    if v >= i64::MAX as f64 { v as u64 as i64 } else { v as i64 }
}

/// The nearest value of a half type; float32 and float64 compute in float64.
fn round(v: f64, to: DType) -> f64 {
    match to {
        DType::F16 => f16::from_f64(v).to_f64(),
        DType::Bf16 => bf16::from_f64(v).to_f64(),
        DType::F32 | DType::F64 | DType::Bool => v,
        DType::I8
        | DType::I16
        | DType::I32
        | DType::I64
        | DType::U8
        | DType::U16
        | DType::U32
        | DType::U64 => v,
    }
}

fn narrow(v: i64, to: DType) -> i64 {
    match to {
        DType::I8 => i64::from(v as i8),
        DType::I16 => i64::from(v as i16),
        DType::I32 => i64::from(v as i32),
        DType::U8 => i64::from(v as u8),
        DType::U16 => i64::from(v as u16),
        DType::U32 => i64::from(v as u32),
        DType::I64 | DType::U64 | DType::F32 | DType::F64 | DType::F16 | DType::Bf16 | DType::Bool => v,
    }
}
