//! Elementwise functions of two operands, which broadcast.

use ndarray::ArrayD;

use super::contract::*;
use super::reference::layout::{array, broadcast_values, mixed_types, wrong_type};

/// Elementwise function of two operands, which broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`; integers are truncated towards zero.
    Div,
    /// `a / b`, 0 where `b` is 0.
    GuardedDiv,
    /// `aᵇ`.
    Pow,
    /// `min(a, b)`.
    Min,
    /// `max(a, b)`.
    Max,
    /// Remainder with the sign of `b`, as ONNX `Mod` with `fmod = 0`.
    Mod,
    /// `a = b`, a boolean.
    Equal,
    /// `a < b`, a boolean.
    Less,
    /// `a ≤ b`, a boolean.
    LessOrEqual,
    /// `a ∧ b` of booleans, or of the bits of integers.
    And,
    /// `a ∨ b` of booleans, or of the bits of integers.
    Or,
    /// `a ⊕ b` of booleans, or of the bits of integers.
    Xor,
}

impl Binary {
    /// Returns the name of the function in printed graphs and composites.
    pub fn word(self) -> &'static str {
        match self {
            Binary::Add => "Add",
            Binary::Sub => "Sub",
            Binary::Mul => "Mul",
            Binary::Div => "Div",
            Binary::GuardedDiv => "GuardedDiv",
            Binary::Pow => "Pow",
            Binary::Min => "Min",
            Binary::Max => "Max",
            Binary::Mod => "Mod",
            Binary::Equal => "Equal",
            Binary::Less => "Less",
            Binary::LessOrEqual => "LessOrEqual",
            Binary::And => "And",
            Binary::Or => "Or",
            Binary::Xor => "Xor",
        }
    }

    /// Returns whether the function is a comparison, whose result is boolean.
    pub fn is_predicate(self) -> bool {
        matches!(self, Binary::Equal | Binary::Less | Binary::LessOrEqual)
    }

    /// Returns whether the function is logic, whose operands are booleans or integers.
    pub fn is_logic(self) -> bool {
        matches!(self, Binary::And | Binary::Or | Binary::Xor)
    }
}

impl Builder {
    /// Adds a node that computes `f(a, b)` elementwise.
    pub fn binary(&mut self, f: Binary, a: Value, b: Value) -> Value {
        self.add(f, &[a, b])
    }

    /// Adds a node that computes `a + b` elementwise.
    pub fn plus(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Add, a, b)
    }

    /// Adds a node that computes `a - b` elementwise.
    pub fn minus(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Sub, a, b)
    }

    /// Adds a node that computes `a · b` elementwise.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.binary(Binary::Mul, a, b)
    }

    /// Adds a node that computes `factor · x`.
    pub fn scale(&mut self, x: Value, factor: f64) -> Value {
        let f = self.scalar_like(factor, x);
        self.mul(x, f)
    }

    /// Adds a node that computes `r / z`, 0 where `z` is 0.
    pub fn guarded_div(&mut self, r: Value, z: Value) -> Value {
        self.binary(Binary::GuardedDiv, r, z)
    }
}

impl Fields for Binary {
    fn name(&self) -> &'static str {
        "Binary"
    }

    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
        visit(Field::Any);
    }

    fn dims_mut(&mut self, _visit: &mut dyn FnMut(&mut Dim)) {}

    fn text(&self) -> String {
        String::new()
    }
}

impl Primitive for Binary {
    fn arity(&self) -> RangeInclusive<usize> {
        2..=2
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        let (a, b) = (&x[0], &x[1]);
        equal("element type of the second operand", b.dtype, a.dtype)?;
        if self.is_logic() && !a.dtype.is_integer() {
            want(a, DType::Bool)?;
        }
        let dtype = if self.is_predicate() { DType::Bool } else { a.dtype };
        Ok(TensorType::new(dtype, broadcast_or(&a.shape, &b.shape)?))
    }

    fn evaluate(&self, x: &[&Array], dims: &[usize]) -> Result<Array, OpError> {
        evaluate(*self, x[0], x[1], dims)
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        for (i, v) in derivative(*self, d).into_iter().enumerate() {
            if let Some(v) = v {
                d.set_summed(i, v);
            }
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.broadcast(*self))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        match self {
            Binary::Mul => x.is_zero(0) || x.is_zero(1),
            Binary::Div | Binary::GuardedDiv => x.is_zero(0),
            Binary::Add | Binary::Sub => x.is_zero(0) && x.is_zero(1),
            Binary::Pow | Binary::Min | Binary::Max | Binary::Mod | Binary::Equal | Binary::Less => false,
            Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => false,
        }
    }

    fn equal_operand(&self, x: &Knowledge<'_>) -> Option<usize> {
        match self {
            Binary::Add if x.is_zero(0) => Some(1),
            Binary::Add | Binary::Sub if x.is_zero(1) => Some(0),
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::GuardedDiv | Binary::Pow => None,
            Binary::Min | Binary::Max | Binary::Mod | Binary::Equal | Binary::Less => None,
            Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => None,
        }
    }

    fn is_non_negative(&self, x: &Signs<'_>) -> bool {
        match self {
            Binary::Add | Binary::Mul | Binary::Div | Binary::GuardedDiv | Binary::Min => x.all(),
            Binary::Max => x.any(),
            Binary::Sub | Binary::Pow | Binary::Mod | Binary::Equal | Binary::Less => false,
            Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => false,
        }
    }

    fn title(&self) -> String {
        self.word().into()
    }
}

/// Evaluates `f(a, b)`, both broadcast to `dims`.
fn evaluate(f: Binary, a: &Array, b: &Array, dims: &[usize]) -> Result<Array, OpError> {
    match (a, b) {
        (Array::F(x), Array::F(y)) => {
            if let Some(g) = comparison(f) {
                return zip(x, y, dims, &0.0, |a, b| Ok(g(&a, &b))).map(Array::B);
            }
            let g = float_function(f).ok_or_else(|| wrong_type("bool", a))?;
            zip(x, y, dims, &0.0, |a, b| Ok(g(a, b))).map(Array::F)
        }
        (Array::I(x), Array::I(y)) => {
            if let Some(g) = comparison(f) {
                return zip(x, y, dims, &0, |a, b| Ok(g(&a, &b))).map(Array::B);
            }
            let g = integer_function(f).ok_or_else(|| wrong_type("bool", a))?;
            zip(x, y, dims, &0, g).map(Array::I)
        }
        (Array::B(x), Array::B(y)) => {
            let g = bool_function(f).ok_or_else(|| wrong_type("a number type", a))?;
            zip(x, y, dims, &false, |a, b| Ok(g(a, b))).map(Array::B)
        }
        (Array::F(_) | Array::I(_) | Array::B(_), _) => Err(mixed_types()),
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
        Binary::And => |a, b| Ok(a & b),
        Binary::Or => |a, b| Ok(a | b),
        Binary::Xor => |a, b| Ok(a ^ b),
        Binary::Equal | Binary::Less | Binary::LessOrEqual => return None,
    })
}

fn zero_divisor() -> OpError {
    OpError::fault("integer division by 0", "a divisor other than 0")
}

/// Returns `base` to the power of `exponent`, truncated towards zero for a negative exponent.
fn power(base: i64, exponent: i64) -> Result<i64, OpError> {
    if exponent < 0 {
        return match base {
            0 => Err(OpError::fault(format!("0 to the power {exponent}"), "an exponent of at least 0")),
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

/// Builds the adjoints of the operands, of the result's shape; the pair is `None` if no derivative is defined.
fn derivative(f: Binary, d: &mut Adjoint<'_>) -> [Option<Value>; 2] {
    let (a, c, y, r) = (d.x[0], d.x[1], d.y, d.r);
    let requested = [d.is_requested(0), d.is_requested(1)];
    let b = &mut *d.b;
    match f {
        Binary::Add => [Some(r), Some(r)],
        Binary::Sub => [Some(r), requested[1].then(|| b.neg(r))],
        Binary::Mul => [requested[0].then(|| b.mul(r, c)), requested[1].then(|| b.mul(r, a))],
        Binary::Div | Binary::GuardedDiv => {
            let first = b.binary(f, r, c);
            let second = requested[1].then(|| {
                let v = b.mul(first, y);
                b.neg(v)
            });
            [Some(first), second]
        }
        Binary::Pow => {
            let first = requested[0].then(|| {
                let unit = b.scalar_like(1.0, c);
                let exponent = b.minus(c, unit);
                let power = b.binary(Binary::Pow, a, exponent);
                let d = b.mul(c, power);
                b.mul(r, d)
            });
            // Of a base of 0 the power does not depend on the exponent; of a negative one only integers are exponents.
            let second = requested[1].then(|| {
                let (zero, unit) = (b.scalar_like(0.0, a), b.scalar_like(1.0, a));
                let is_positive = b.binary(Binary::Less, zero, a);
                let base = b.select(is_positive, a, unit);
                let log = b.log(base);
                let power = b.select(is_positive, y, zero);
                let d = b.mul(power, log);
                b.mul(r, d)
            });
            [first, second]
        }
        Binary::Min | Binary::Max => {
            let operands = if f == Binary::Min { [c, a] } else { [a, c] };
            let second = b.binary(Binary::Less, operands[0], operands[1]);
            let zero = b.scalar_like(0.0, r);
            let first = b.select(second, zero, r);
            [Some(first), Some(b.select(second, r, zero))]
        }
        Binary::Equal | Binary::Less | Binary::LessOrEqual | Binary::And | Binary::Or | Binary::Xor => {
            [None, None]
        }
        // a - b · ⌊a / b⌋ with a constant quotient.
        Binary::Mod => {
            let second = requested[1].then(|| {
                let quotient = b.binary(Binary::Div, a, c);
                let whole = b.floor(quotient);
                let v = b.mul(r, whole);
                b.neg(v)
            });
            [Some(r), second]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{assert_close, bools, error, eval, floats, ints, row};

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    #[test]
    fn binary_functions_broadcast() {
        let (a, b) = (floats(&[2, 1], &[-7.0, 6.0]), floats(&[3], &[2.0, -4.0, 0.0]));
        let cases = [
            (Binary::Add, [-5.0, -11.0, -7.0, 8.0, 2.0, 6.0]),
            (Binary::Sub, [-9.0, -3.0, -7.0, 4.0, 10.0, 6.0]),
            (Binary::Mul, [-14.0, 28.0, 0.0, 12.0, -24.0, 0.0]),
            (Binary::Div, [-3.5, 1.75, -INF, 3.0, -1.5, INF]),
            (Binary::GuardedDiv, [-3.5, 1.75, 0.0, 3.0, -1.5, 0.0]),
            (Binary::Pow, [49.0, 1.0 / 2401.0, 1.0, 36.0, 1.0 / 1296.0, 1.0]),
            (Binary::Min, [-7.0, -7.0, -7.0, 2.0, -4.0, 0.0]),
            (Binary::Max, [2.0, -4.0, 0.0, 6.0, 6.0, 6.0]),
            (Binary::Mod, [1.0, -3.0, NAN, 0.0, -2.0, NAN]),
        ];
        for (f, y) in cases {
            assert_close(&eval(f, &[&a, &b]), &floats(&[2, 3], &y));
        }
        let less = eval(Binary::Less, &[&a, &b]);
        assert_eq!(less, bools(&[2, 3], &[true, true, true, false, false, false]));
        let equal = eval(Binary::Equal, &[&row(&[1.0, NAN]), &row(&[1.0, NAN])]);
        assert_eq!(equal, bools(&[2], &[true, false]));
    }

    #[test]
    fn integer_functions_truncate_wrap_and_refuse_zero_divisors() {
        let (a, b) = (ints(&[4], &[-7, 7, -7, 7]), ints(&[4], &[2, -2, -2, 2]));
        let cases = [
            (Binary::Div, [-3, -3, 3, 3]),
            (Binary::GuardedDiv, [-3, -3, 3, 3]),
            (Binary::Mod, [1, -1, -1, 1]),
            (Binary::Pow, [49, 0, 0, 49]),
            (Binary::Sub, [-9, 9, -5, 5]),
            (Binary::Max, [2, 7, -2, 7]),
            (Binary::Min, [-7, -2, -7, 2]),
        ];
        for (f, y) in cases {
            assert_eq!(eval(f, &[&a, &b]), ints(&[4], &y), "{f:?}");
        }
        let (unit, zero) = (ints(&[], &[1]), ints(&[], &[0]));
        for f in [Binary::Div, Binary::Mod] {
            assert_eq!(error(f, &[&unit, &zero]), "integer division by 0: expected a divisor other than 0");
        }
        assert_eq!(eval(Binary::GuardedDiv, &[&unit, &zero]), zero);
        let (lowest, minus) = (ints(&[], &[i64::MIN]), ints(&[], &[-1]));
        assert_eq!(eval(Binary::Div, &[&lowest, &minus]), lowest);
        assert_eq!(eval(Binary::Mod, &[&lowest, &minus]), zero);
        assert_eq!(eval(Binary::Mul, &[&lowest, &lowest]), zero);
        assert_eq!(eval(Binary::Pow, &[&minus, &minus]), minus);
        assert!(error(Binary::Pow, &[&zero, &minus]).contains("0 to the power -1: expected an exponent"));
        assert_eq!(eval(Binary::LessOrEqual, &[&a, &b]), bools(&[4], &[true, false, true, false]));
    }

    #[test]
    fn logic_is_of_booleans() {
        let (a, b) = (bools(&[4], &[false, false, true, true]), bools(&[4], &[false, true, false, true]));
        let cases = [
            (Binary::And, [false, false, false, true]),
            (Binary::Or, [false, true, true, true]),
            (Binary::Xor, [false, true, true, false]),
            (Binary::Equal, [true, false, false, true]),
        ];
        for (f, y) in cases {
            assert_eq!(eval(f, &[&a, &b]), bools(&[4], &y), "{f:?}");
        }
        assert!(error(Binary::And, &[&row(&[1.0]), &row(&[1.0])]).contains("bool"));
        assert!(error(Binary::Add, &[&a, &b]).contains("number"));
    }
}
