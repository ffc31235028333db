//! Elementwise functions of one operand, such as activations.
//!
//! Reads the ONNX activations and unary math operators. A function has the name of its ONNX operator.

use super::Extremum;
use super::Operator;
use super::read::{Reader, Reading};
use super::role::Role;
use super::trigonometry::Trigonometric;
use crate::OpError;
use crate::graph::Value;
use crate::prim::{Binary, Builder, Fields, Prim, Primitive, Unary};

/// Elementwise function of one operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// The function.
    pub f: Function,
}

/// Elementwise function: a primitive, or a formula of primitives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// Function that is a primitive.
    Unary(Unary),
    /// `x · Φ(x)` with the normal distribution function `Φ`.
    Gelu {
        /// True for the approximation by tanh, false for the exact function.
        tanh: bool,
    },
    /// `x · σ(alpha·x)`: SiLU, Swish, QuickGELU.
    Silu {
        /// Slope inside the sigmoid.
        alpha: f32,
    },
    /// `x · tanh(softplus(x))`.
    Mish,
    /// `gamma·x` where positive, elsewhere `gamma·alpha·(eˣ - 1)`.
    Selu {
        /// Scale of the negative side.
        alpha: f32,
        /// Scale of both sides.
        gamma: f32,
    },
    /// `max(x, 0) + min(0, alpha·(e^(x/alpha) - 1))`.
    Celu {
        /// Scale of the negative side.
        alpha: f32,
    },
    /// `x` where it exceeds `alpha`, elsewhere 0.
    ThresholdedRelu {
        /// Threshold.
        alpha: f32,
    },
    /// `x - bias` above `lambd`, `x + bias` below `-lambd`, elsewhere 0.
    Shrink {
        /// Shift towards 0.
        bias: f32,
        /// Threshold of the magnitude.
        lambd: f32,
    },
    /// Function of the trigonometric family.
    Trigonometric(Trigonometric),
}

impl Activation {
    pub(super) fn name(&self) -> String {
        match self.f {
            Function::Unary(f) => f.title(),
            Function::Gelu { .. } => "Gelu".into(),
            Function::Silu { .. } => "Silu".into(),
            Function::Mish => "Mish".into(),
            Function::Selu { .. } => "Selu".into(),
            Function::Celu { .. } => "Celu".into(),
            Function::ThresholdedRelu { .. } => "ThresholdedRelu".into(),
            Function::Shrink { .. } => "Shrink".into(),
            Function::Trigonometric(f) => f.name().into(),
        }
    }
}

impl Operator for Activation {
    fn attributes(&self) -> String {
        let parameters = match self.f {
            Function::Unary(f) => f.text(),
            Function::Gelu { tanh } => format!("tanh={tanh}"),
            Function::Silu { alpha } | Function::Celu { alpha } | Function::ThresholdedRelu { alpha } => {
                format!("alpha={alpha:?}")
            }
            Function::Selu { alpha, gamma } => format!("alpha={alpha:?} gamma={gamma:?}"),
            Function::Shrink { bias, lambd } => format!("bias={bias:?} lambd={lambd:?}"),
            Function::Mish | Function::Trigonometric(_) => String::new(),
        };
        if parameters.is_empty() { parameters } else { format!(" {parameters}") }
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![apply(self.f, b, inputs[0])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Elementwise
    }
}

fn apply(f: Function, b: &mut Builder, x: Value) -> Value {
    match f {
        Function::Unary(u) => b.unary(u, x),
        Function::Gelu { tanh: false } => {
            let e = b.scale(x, std::f64::consts::FRAC_1_SQRT_2);
            let e = b.unary(Unary::Erf, e);
            half_of_one_plus(b, x, e)
        }
        Function::Gelu { tanh: true } => {
            // 0.044715 is the coefficient of the published approximation.
            let x2 = b.mul(x, x);
            let x3 = b.mul(x2, x);
            let x3 = b.scale(x3, 0.044715);
            let u = b.plus(x, x3);
            let u = b.scale(u, (2.0 / std::f64::consts::PI).sqrt());
            let t = b.unary(Unary::Tanh, u);
            half_of_one_plus(b, x, t)
        }
        Function::Silu { alpha } => {
            let u = if alpha == 1.0 { x } else { b.scale(x, f64::from(alpha)) };
            let s = b.unary(Unary::Sigmoid, u);
            b.mul(x, s)
        }
        Function::Mish => {
            let s = b.unary(Unary::Softplus, x);
            let t = b.unary(Unary::Tanh, s);
            b.mul(x, t)
        }
        Function::Selu { alpha, gamma } => {
            let e = b.unary(Unary::Elu { alpha }, x);
            b.scale(e, f64::from(gamma))
        }
        Function::Celu { alpha } => {
            // alpha · elu(x / alpha) equals x where x is positive.
            let u = b.scale(x, 1.0 / f64::from(alpha));
            let e = b.unary(Unary::Elu { alpha: 1.0 }, u);
            b.scale(e, f64::from(alpha))
        }
        Function::ThresholdedRelu { alpha } => {
            let t = b.scalar_like(f64::from(alpha), x);
            let above = b.binary(Binary::Less, t, x);
            let zero = b.scalar_like(0.0, x);
            b.add(Prim::Select, &[above, x, zero])
        }
        Function::Shrink { bias, lambd } => {
            let (l, m) = (b.scalar_like(f64::from(lambd), x), b.scalar_like(-f64::from(lambd), x));
            let bias = b.scalar_like(f64::from(bias), x);
            let (up, down) = (b.minus(x, bias), b.plus(x, bias));
            let zero = b.scalar_like(0.0, x);
            let (above, below) = (b.binary(Binary::Less, l, x), b.binary(Binary::Less, x, m));
            let inner = b.add(Prim::Select, &[below, down, zero]);
            b.add(Prim::Select, &[above, up, inner])
        }
        Function::Trigonometric(f) => f.build(b, x),
    }
}

/// Builds `x · (1 + e) / 2`.
fn half_of_one_plus(b: &mut Builder, x: Value, e: Value) -> Value {
    let unit = b.scalar_like(1.0, x);
    let e = b.plus(e, unit);
    let x = b.scale(x, 0.5);
    b.mul(x, e)
}

/// Returns the readers of the unary operators.
pub fn readers() -> Vec<Reader> {
    fn plain(op: &'static str, since: i64) -> Reader {
        Reader::new(op, since, read_plain)
    }
    let mut readers: Vec<Reader> = [
        "Abs",
        "Neg",
        "Sign",
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Erf",
        "Tanh",
        "Sigmoid",
        "Relu",
        "HardSwish",
        "Softplus",
        "Softsign",
        "Floor",
        "Ceil",
        "Round",
        "Sin",
        "Cos",
        "Mish",
    ]
    .into_iter()
    .map(|op| plain(op, 1))
    .collect();
    readers.extend([
        Reader::new("LeakyRelu", 1, |r| {
            let alpha = r.float_or("alpha", 0.01)?;
            read_function(r, Function::Unary(Unary::LeakyRelu { alpha }))
        }),
        Reader::new("Elu", 1, |r| {
            let alpha = r.float_or("alpha", 1.0)?;
            read_function(r, Function::Unary(Unary::Elu { alpha }))
        }),
        Reader::new("Selu", 1, |r| {
            let (alpha, gamma) = (r.float_or("alpha", 1.673_263_2)?, r.float_or("gamma", 1.050_701)?);
            read_function(r, Function::Selu { alpha, gamma })
        }),
        Reader::new("Celu", 12, |r| {
            let alpha = r.float_or("alpha", 1.0)?;
            read_function(r, Function::Celu { alpha })
        }),
        Reader::new("ThresholdedRelu", 10, |r| {
            let alpha = r.float_or("alpha", 1.0)?;
            read_function(r, Function::ThresholdedRelu { alpha })
        }),
        Reader::new("Shrink", 9, |r| {
            let (bias, lambd) = (r.float_or("bias", 0.0)?, r.float_or("lambd", 0.5)?);
            read_function(r, Function::Shrink { bias, lambd })
        }),
        Reader::new("HardSigmoid", 1, |r| {
            let (alpha, beta) = (r.float_or("alpha", 0.2)?, r.float_or("beta", 0.5)?);
            read_function(r, Function::Unary(Unary::HardSigmoid { alpha, beta }))
        }),
        Reader::new("Gelu", 20, |r| match r.string_or("approximate", "none")?.as_str() {
            "none" => read_function(r, Function::Gelu { tanh: false }),
            "tanh" => read_function(r, Function::Gelu { tanh: true }),
            other => Err(OpError::mismatch("approximate", "none or tanh", other)),
        }),
        Reader::new("Clip", 1, read_clip),
        Reader::new("Swish", 24, |r| {
            let alpha = r.float_or("alpha", 1.0)?;
            read_function(r, Function::Silu { alpha })
        }),
        Reader::new("SwiGLU", 28, read_swiglu),
    ]);
    readers.extend(Trigonometric::ALL.map(|f| plain(f.name(), 1)));
    readers
}

fn read_function(r: &mut Reading, f: Function) -> Result<Vec<Value>, OpError> {
    let x = r.input(0)?;
    let ty = r.ty(x);
    if !ty.dtype.is_float() && !works_on_integers(f) {
        return Err(OpError::mismatch("element type", "a float", ty.dtype));
    }
    Ok(vec![r.add(Activation { f }, &[x])?])
}

fn works_on_integers(f: Function) -> bool {
    matches!(f, Function::Unary(Unary::Abs | Unary::Neg | Unary::Sign | Unary::Relu | Unary::Clip { .. }))
}

fn read_plain(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    if let Some(f) = Trigonometric::ALL.into_iter().find(|f| f.name() == r.op) {
        return read_function(r, Function::Trigonometric(f));
    }
    let f = match r.op {
        "Abs" => Unary::Abs,
        "Neg" => Unary::Neg,
        "Sign" => Unary::Sign,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Erf" => Unary::Erf,
        "Tanh" => Unary::Tanh,
        "Sigmoid" => Unary::Sigmoid,
        "Relu" => Unary::Relu,
        "HardSwish" => Unary::HardSwish,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        "Round" => Unary::Round,
        "Sin" => Unary::Sin,
        "Cos" => Unary::Cos,
        "Mish" => return read_function(r, Function::Mish),
        other => return Err(OpError::unsupported("operator", "a unary function", other)),
    };
    read_function(r, Function::Unary(f))
}

/// Reads `Clip`. Its bounds are attributes up to opset 10 and operands afterwards.
fn read_clip(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (min, max) = if r.opset < 11 {
        (r.float("min")?, r.float("max")?)
    } else {
        let (min, max) = (r.optional(1), r.optional(2));
        if [min, max].iter().flatten().any(|v| r.constant(*v).is_none()) {
            return clip_by_computed_bounds(r, min, max);
        }
        let bound = |v: Option<Value>, property: &str| v.map(|v| r.float_of(v, property)).transpose();
        (bound(min, "min")?, bound(max, "max")?)
    };
    read_function(r, Function::Unary(Unary::Clip { min, max }))
}

/// Builds `min(max(x, lower), upper)` of computed bounds.
fn clip_by_computed_bounds(
    r: &mut Reading,
    lower: Option<Value>,
    upper: Option<Value>,
) -> Result<Vec<Value>, OpError> {
    let mut y = r.input(0)?;
    for (bound, max) in [(lower, true), (upper, false)] {
        if let Some(bound) = bound {
            y = r.add(Extremum { max }, &[y, bound])?;
        }
    }
    Ok(vec![y])
}

/// Reads `SwiGLU`: `swish(gate) · linear` of two operands of one shape.
fn read_swiglu(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let alpha = r.float_or("alpha", 1.0)?;
    let (gate, linear) = (r.input(0)?, r.input(1)?);
    let gate = r.add(Activation { f: Function::Silu { alpha } }, &[gate])?;
    Ok(vec![r.add(super::Mul, &[gate, linear])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_parameters_are_those_of_the_text_form() {
        let text = |f: Function| format!("{}{}", Activation { f }.name(), Activation { f }.attributes());
        let texts = [
            (Function::Unary(Unary::Relu), "Relu"),
            (Function::Unary(Unary::LeakyRelu { alpha: 0.1 }), "LeakyRelu alpha=0.1"),
            (Function::Unary(Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }), "HardSigmoid alpha=0.2 beta=0.5"),
            (Function::Unary(Unary::Clip { min: Some(0.0), max: None }), "Clip min=0.0"),
            (Function::Gelu { tanh: true }, "Gelu tanh=true"),
            (Function::Silu { alpha: 1.702 }, "Silu alpha=1.702"),
            (Function::Mish, "Mish"),
            (Function::Selu { alpha: 1.5, gamma: 1.0 }, "Selu alpha=1.5 gamma=1.0"),
            (Function::Celu { alpha: 2.0 }, "Celu alpha=2.0"),
            (Function::ThresholdedRelu { alpha: 1e-9 }, "ThresholdedRelu alpha=1e-9"),
            (Function::Shrink { bias: 0.0, lambd: 0.5 }, "Shrink bias=0.0 lambd=0.5"),
            (Function::Trigonometric(Trigonometric::Tan), "Tan"),
        ];
        for (f, expected) in texts {
            assert_eq!(text(f), expected);
        }
    }
}
