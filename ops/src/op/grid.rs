//! Numbers of quantised types.

use crate::graph::Value;
use crate::prim::{Binary, Builder, Unary};
use crate::tensor::DType;

/// Quantised type: the numbers that it has, and the element type that holds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantisedType {
    /// Numbers of the type.
    pub grid: Grid,
    /// Element type of a tensor that holds them.
    pub dtype: DType,
}

/// Numbers that a quantised type can hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grid {
    /// All whole numbers of a range.
    Whole {
        /// Smallest number.
        low: i64,
        /// Largest number.
        high: i64,
    },
    /// Floats of few bits.
    Float {
        /// Number of bits of the fraction.
        fraction: i32,
        /// Exponent of the smallest normal number.
        exponent: i32,
        /// Largest number.
        largest: f32,
    },
}

/// Magnitudes that do not round to a number of a grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Overflow {
    /// Bound of the magnitudes.
    pub from: f32,
    /// True if the bound is one of them.
    pub includes: bool,
}

impl Grid {
    /// Returns the smallest and the largest number.
    pub(super) fn bounds(self) -> [f64; 2] {
        match self {
            Grid::Whole { low, high } => [low as f64, high as f64],
            Grid::Float { largest, .. } => [-f64::from(largest), f64::from(largest)],
        }
    }

    /// Returns the magnitudes of floats that do not round to a number of the grid; `None` for whole numbers.
    pub(super) fn overflow(self) -> Option<Overflow> {
        let Grid::Float { fraction, largest, .. } = self else { return None };
        let step = (largest.log2().floor() - fraction as f32).exp2();
        // A tie rounds to the even number, which is beyond the largest if that is odd.
        Some(Overflow { from: largest + step / 2.0, includes: (largest / step) % 2.0 == 1.0 })
    }

    /// Returns the numbers of an integer type; `None` for other types and for those that float32 does not hold.
    pub fn of(dtype: DType) -> Option<Grid> {
        let (low, high) = match dtype {
            DType::I8 => (-128, 127),
            DType::U8 => (0, 255),
            DType::I16 => (-32768, 32767),
            DType::U16 => (0, 65535),
            _ => return None,
        };
        Some(Grid::Whole { low, high })
    }

    /// Builds the number of the grid next to `v`; ties go to the even one.
    pub(super) fn round(self, b: &mut Builder, v: Value) -> Value {
        let Grid::Float { fraction, exponent, .. } = self else { return b.unary(Unary::Round, v) };
        let magnitude = b.unary(Unary::Abs, v);
        let log = b.unary(Unary::Log, magnitude);
        let log = b.scale(log, std::f64::consts::LOG2_E);
        let log = b.unary(Unary::Floor, log);
        let smallest = b.scalar_like(f64::from(exponent), v);
        let power = b.binary(Binary::Max, log, smallest);
        let fraction = b.scalar_like(f64::from(fraction), v);
        let power = b.minus(power, fraction);
        let base = b.scalar_like(2.0, v);
        let step = b.binary(Binary::Pow, base, power);
        let steps = b.binary(Binary::Div, v, step);
        let steps = b.unary(Unary::Round, steps);
        b.mul(steps, step)
    }
}
