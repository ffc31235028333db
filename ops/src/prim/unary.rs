//! Elementwise functions of one operand.

use super::Binary;
use super::contract::*;
use super::reference::layout::wrong_type;

#[cfg(test)]
mod tests;

/// Elementwise function of one float operand; `Not` is of a boolean operand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    /// `|x|`.
    Abs,
    /// `-x`.
    Neg,
    /// -1, 0 or 1 by the sign of `x`.
    Sign,
    /// `eˣ`.
    Exp,
    /// `ln x`.
    Log,
    /// `√x`.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `erf x`, the error function.
    Erf,
    /// `tanh x`.
    Tanh,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, elsewhere `alpha·x`.
    LeakyRelu {
        /// Slope for negative `x`.
        #[serde(serialize_with = "super::float::number")]
        alpha: f32,
    },
    /// `x` where positive, elsewhere `alpha·(eˣ - 1)`.
    Elu {
        /// Magnitude of the limit for `x` → -∞.
        #[serde(serialize_with = "super::float::number")]
        alpha: f32,
    },
    /// `clip(alpha·x + beta, 0, 1)`.
    HardSigmoid {
        /// Slope between the bounds.
        #[serde(serialize_with = "super::float::number")]
        alpha: f32,
        /// Value at 0.
        #[serde(serialize_with = "super::float::number")]
        beta: f32,
    },
    /// `x · clip(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `min(max(x, min), max)`.
    Clip {
        /// Lower bound; -∞ if absent.
        #[serde(serialize_with = "super::float::optional")]
        min: Option<f32>,
        /// Upper bound; ∞ if absent.
        #[serde(serialize_with = "super::float::optional")]
        max: Option<f32>,
    },
    /// `⌊x⌋`.
    Floor,
    /// `⌈x⌉`.
    Ceil,
    /// Nearest integer; ties go to the even one.
    Round,
    /// `sin x`.
    Sin,
    /// `cos x`.
    Cos,
    /// `¬x` of a boolean.
    Not,
}

impl Unary {
    /// Returns the name of the function in printed graphs and composites.
    pub fn word(self) -> &'static str {
        match self {
            Unary::Abs => "Abs",
            Unary::Neg => "Neg",
            Unary::Sign => "Sign",
            Unary::Exp => "Exp",
            Unary::Log => "Log",
            Unary::Sqrt => "Sqrt",
            Unary::Reciprocal => "Reciprocal",
            Unary::Erf => "Erf",
            Unary::Tanh => "Tanh",
            Unary::Sigmoid => "Sigmoid",
            Unary::Relu => "Relu",
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::HardSigmoid { .. } => "HardSigmoid",
            Unary::HardSwish => "HardSwish",
            Unary::Softplus => "Softplus",
            Unary::Softsign => "Softsign",
            Unary::Clip { .. } => "Clip",
            Unary::Floor => "Floor",
            Unary::Ceil => "Ceil",
            Unary::Round => "Round",
            Unary::Sin => "Sin",
            Unary::Cos => "Cos",
            Unary::Not => "Not",
        }
    }
}

impl Builder {
    /// Adds a node that computes `f(x)` elementwise.
    pub fn unary(&mut self, f: Unary, x: Value) -> Value {
        self.add(f, &[x])
    }

    /// Adds a node that computes `|x|`; returns `x` if it is never negative.
    pub fn abs(&mut self, x: Value) -> Value {
        if self.is_non_negative(x) { x } else { self.unary(Unary::Abs, x) }
    }

    /// Adds a node that computes `-x`.
    pub fn neg(&mut self, x: Value) -> Value {
        self.unary(Unary::Neg, x)
    }

    /// Adds a node that computes `⌊x⌋`.
    pub fn floor(&mut self, x: Value) -> Value {
        self.unary(Unary::Floor, x)
    }

    /// Adds a node that computes `ln x`.
    pub fn log(&mut self, x: Value) -> Value {
        self.unary(Unary::Log, x)
    }
}

impl Fields for Unary {
    fn name(&self) -> &'static str {
        "Unary"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        visit(Field::Any);
    }

    fn dims_mut(&mut self, _visit: &mut dyn FnMut(&mut Dim)) {}

    fn text(&self) -> String {
        match self {
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => format!("alpha={alpha:?}"),
            Unary::HardSigmoid { alpha, beta } => format!("alpha={alpha:?} beta={beta:?}"),
            Unary::Clip { min, max } => {
                let bound = |name, value: &Option<f32>| value.map(|value| format!("{name}={value:?}"));
                [bound("min", min), bound("max", max)].into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        }
    }
}

impl Primitive for Unary {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        if *self == Unary::Not {
            want(&x[0], DType::Bool)?;
        }
        Ok(x[0].clone())
    }

    fn evaluate(&self, x: &[&Array], _dims: &[usize]) -> Result<Array, OpError> {
        evaluate(*self, x[0])
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        if let Some(v) = derivative(*self, d) {
            d.set(0, v);
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.apply_to_first(*self))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        match self {
            Unary::Abs | Unary::Neg | Unary::Sign | Unary::Sqrt | Unary::Relu => x.is_zero(0),
            Unary::Exp | Unary::Log | Unary::Reciprocal | Unary::Erf | Unary::Tanh | Unary::Sigmoid => false,
            Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::HardSigmoid { .. } | Unary::Clip { .. } => {
                false
            }
            Unary::HardSwish | Unary::Softplus | Unary::Softsign | Unary::Floor | Unary::Ceil => false,
            Unary::Round | Unary::Sin | Unary::Cos | Unary::Not => false,
        }
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        match self {
            Unary::Abs | Unary::Exp | Unary::Sqrt | Unary::Sigmoid | Unary::Relu | Unary::Softplus => true,
            Unary::HardSigmoid { .. } => true,
            Unary::Clip { max: Some(max), .. } if *max < 0.0 => false,
            Unary::Clip { min, .. } => min.is_some_and(|m| m >= 0.0) || x.first(),
            Unary::Neg | Unary::Sign | Unary::Log | Unary::Reciprocal | Unary::Erf | Unary::Tanh => false,
            Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::HardSwish | Unary::Softsign => false,
            Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sin | Unary::Cos | Unary::Not => false,
        }
    }

    fn title(&self) -> String {
        self.word().into()
    }
}

/// Evaluates `f(x)`.
fn evaluate(f: Unary, x: &Array) -> Result<Array, OpError> {
    match x {
        Array::F(v) => {
            if f == Unary::Not {
                return Err(wrong_type("bool", x));
            }
            Ok(Array::F(v.mapv(|v| float_function(f, v))))
        }
        Array::I(v) => {
            let g = integer_function(f).ok_or_else(|| wrong_type("a float type", x))?;
            Ok(Array::I(v.mapv(g)))
        }
        Array::B(v) if f == Unary::Not => Ok(Array::B(v.mapv(|v| !v))),
        Array::B(_) => Err(wrong_type("a float type", x)),
    }
}

fn float_function(f: Unary, x: f64) -> f64 {
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
        // `evaluate` refuses `Not` for floats.
        Unary::Not => f64::NAN,
    }
}

/// Returns `min(max(x, min), max)`; NaN stays NaN.
fn clip(x: f64, min: f64, max: f64) -> f64 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

fn integer_function(f: Unary) -> Option<Box<dyn Fn(i64) -> i64>> {
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

/// Builds the adjoint of the operand; `None` if the function is constant between its steps or boolean.
fn derivative(f: Unary, d: &mut Adjoint<'_>) -> Option<Value> {
    let (x, y, r) = (d.x[0], d.y, d.r);
    let b = &mut *d.b;
    Some(match f {
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Not => return None,
        Unary::Abs => {
            let sign = b.unary(Unary::Sign, x);
            b.mul(r, sign)
        }
        Unary::Neg => b.unary(Unary::Neg, r),
        Unary::Exp => b.mul(r, y),
        Unary::Log => b.binary(Binary::Div, r, x),
        Unary::Sqrt => {
            let half = b.scale(r, 0.5);
            b.guarded_div(half, y)
        }
        Unary::Reciprocal => {
            let square = b.mul(y, y);
            let v = b.mul(r, square);
            b.unary(Unary::Neg, v)
        }
        Unary::Erf => {
            let square = b.mul(x, x);
            let v = b.unary(Unary::Neg, square);
            let v = b.unary(Unary::Exp, v);
            let v = b.scale(v, std::f64::consts::FRAC_2_SQRT_PI);
            b.mul(r, v)
        }
        Unary::Tanh => {
            let square = b.mul(y, y);
            let unit = b.scalar_like(1.0, y);
            let d = b.minus(unit, square);
            b.mul(r, d)
        }
        Unary::Sigmoid => {
            let unit = b.scalar_like(1.0, y);
            let rest = b.minus(unit, y);
            let d = b.mul(y, rest);
            b.mul(r, d)
        }
        Unary::Relu => {
            let positive = above(b, x, 0.0);
            or_zero(b, positive, r)
        }
        Unary::LeakyRelu { alpha } => {
            let positive = above(b, x, 0.0);
            let negative = b.scale(r, f64::from(alpha));
            b.select(positive, r, negative)
        }
        Unary::Elu { alpha } => {
            let positive = above(b, x, 0.0);
            let alpha = b.scalar_like(f64::from(alpha), y);
            let d = b.plus(y, alpha);
            let negative = b.mul(r, d);
            b.select(positive, r, negative)
        }
        Unary::HardSigmoid { alpha, .. } => {
            let (low, high) = (above(b, y, 0.0), below(b, y, 1.0));
            let within = b.binary(Binary::And, low, high);
            let v = b.scale(r, f64::from(alpha));
            or_zero(b, within, v)
        }
        Unary::HardSwish => {
            let (low, high) = (above(b, x, -3.0), below(b, x, 3.0));
            let third = b.scale(x, 1.0 / 3.0);
            let half = b.scalar_like(0.5, x);
            let d = b.plus(third, half);
            let inner = b.mul(r, d);
            let inner = or_zero(b, low, inner);
            b.select(high, inner, r)
        }
        Unary::Softplus => {
            let s = b.unary(Unary::Sigmoid, x);
            b.mul(r, s)
        }
        Unary::Softsign => {
            let magnitude = b.unary(Unary::Abs, x);
            let unit = b.scalar_like(1.0, x);
            let d = b.plus(unit, magnitude);
            let d = b.mul(d, d);
            b.binary(Binary::Div, r, d)
        }
        Unary::Clip { min, max } => {
            let mut v = r;
            let zero = b.scalar_like(0.0, r);
            if let Some(min) = min {
                let out = below(b, x, f64::from(min));
                v = b.select(out, zero, v);
            }
            if let Some(max) = max {
                let out = above(b, x, f64::from(max));
                v = b.select(out, zero, v);
            }
            v
        }
        Unary::Sin => {
            let c = b.unary(Unary::Cos, x);
            b.mul(r, c)
        }
        Unary::Cos => {
            let s = b.unary(Unary::Sin, x);
            let v = b.mul(r, s);
            b.unary(Unary::Neg, v)
        }
    })
}

/// Returns `r` where the condition holds, elsewhere 0.
fn or_zero(b: &mut Builder, condition: Value, r: Value) -> Value {
    let zero = b.scalar_like(0.0, r);
    b.select(condition, r, zero)
}

/// Returns the mask `x < c`.
fn below(b: &mut Builder, x: Value, c: f64) -> Value {
    let c = b.scalar_like(c, x);
    b.binary(Binary::Less, x, c)
}

/// Returns the mask `x > c`.
fn above(b: &mut Builder, x: Value, c: f64) -> Value {
    let c = b.scalar_like(c, x);
    b.binary(Binary::Less, c, x)
}
