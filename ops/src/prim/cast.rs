//! Conversion of the element type.

use half::{bf16, f16};

use super::contract::*;

/// Conversion of the element type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cast {
    /// Element type of the result.
    pub to: DType,
}

impl Builder {
    /// Adds a node that converts `x` to type `to`; returns `x` if it already has this type.
    pub fn cast(&mut self, x: Value, to: DType) -> Value {
        if self.ty(x).dtype == to { x } else { self.add(Cast { to }, &[x]) }
    }
}

fields!(Cast { to: Any });

impl Primitive for Cast {
    fn arity(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn infer(&self, x: &[TensorType]) -> Result<TensorType, OpError> {
        Ok(x[0].with_dtype(self.to))
    }

    fn evaluate(&self, x: &[&Array], _dims: &[usize]) -> Result<Array, OpError> {
        Ok(cast(x[0], self.to))
    }

    fn adjoint(&self, d: &mut Adjoint<'_>) -> Result<(), OpError> {
        // A derivative stays float32: rounded to float16, a small one would be 0. Ids have no derivative: `r` is their relevance, which
        // passes from one integer type to another.
        let from = d.b.ty(d.x[0]).dtype;
        if from.is_float() || (from.is_integer() && self.to.is_integer()) {
            let v = d.b.cast(d.r, DType::F32);
            d.set(0, v);
        }
        Ok(())
    }

    fn with_targets(&self, t: &mut TargetAxis<'_>) -> Result<Value, OpError> {
        Ok(t.apply_to_first(self.clone()))
    }

    fn is_zero(&self, x: &Knowledge<'_>) -> bool {
        x.is_zero(0)
    }

    fn attributes(&self) -> String {
        format!("to={}", self.to)
    }
}

/// Converts `x` to type `to`: floats are truncated to integers, integers keep their low bits, and every value except 0
/// is true.
fn cast(x: &Array, to: DType) -> Array {
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

/// Truncates towards zero. From 2^63 on the result has the bits of the unsigned integer, as arrays store it.
fn truncate(v: f64) -> i64 {
    if v >= i64::MAX as f64 { v as u64 as i64 } else { v as i64 }
}

/// Rounds to the nearest value of a 16-bit float type; float32 and float64 are computed in float64.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prim::tests::arrays::{bools, data, eval, ints, row};

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    #[test]
    fn casts_convert() {
        let to = |to: DType| Cast { to };
        let x = row(&[-1.7, 0.0, 2.9, 300.0]);
        assert_eq!(eval(to(DType::I64), &[&x]), ints(&[4], &[-1, 0, 2, 300]));
        assert_eq!(eval(to(DType::U8), &[&x]), ints(&[4], &[255, 0, 2, 44]));
        assert_eq!(eval(to(DType::I8), &[&ints(&[2], &[128, -129])]), ints(&[2], &[-128, 127]));
        assert_eq!(eval(to(DType::Bool), &[&x]), bools(&[4], &[true, false, true, true]));
        assert_eq!(eval(to(DType::Bool), &[&ints(&[2], &[0, -2])]), bools(&[2], &[false, true]));
        let flags = bools(&[2], &[true, false]);
        assert_eq!(eval(to(DType::F32), &[&flags]), row(&[1.0, 0.0]));
        assert_eq!(eval(to(DType::I32), &[&flags]), ints(&[2], &[1, 0]));
        assert_eq!(eval(to(DType::F32), &[&ints(&[1], &[7])]), row(&[7.0]));
        assert_eq!(eval(to(DType::F32), &[&row(&[0.1])]), row(&[0.1]));
        assert_eq!(eval(to(DType::F16), &[&row(&[0.1, 1e6])]), row(&[0.099_975_585_937_5, INF]));
        assert_eq!(eval(to(DType::Bf16), &[&row(&[0.1])]), row(&[0.100_097_656_25]));
        let huge = eval(to(DType::I64), &[&row(&[NAN, -1e300])]);
        assert_eq!(huge, ints(&[2], &[0, i64::MIN]));
        assert!(data(&eval(to(DType::F16), &[&row(&[NAN])]))[0].is_nan());
    }
}
