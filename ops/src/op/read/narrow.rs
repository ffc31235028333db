//! Element types of files that tensors have no type for: integers of 2 and 4 bits, and floats of 4 and 8 bits. Their numbers are held by
//! integers of 8 bits and by float32.

use crate::op::grid::{Grid, QuantisedType};
use crate::tensor::DType;

/// Element type that is narrower than those of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow {
    /// Signed integer of 2 bits.
    I2,
    /// Unsigned integer of 2 bits.
    U2,
    /// Signed integer of 4 bits.
    I4,
    /// Unsigned integer of 4 bits.
    U4,
    /// Float with 2 bits of exponent and 1 of fraction.
    F4E2M1,
    /// Float with 4 bits of exponent and 3 of fraction, without infinities.
    F8E4M3,
    /// The same with one zero and another bias.
    F8E4M3Fnuz,
    /// Float with 5 bits of exponent and 2 of fraction.
    F8E5M2,
    /// The same with one zero, without infinities, and with another bias.
    F8E5M2Fnuz,
    /// Power of 2, with 8 bits of exponent.
    F8E8M0,
}

impl Narrow {
    /// All types with their codes of `TensorProto.DataType`.
    const CODES: [(i64, Narrow); 10] = [
        (17, Narrow::F8E4M3),
        (18, Narrow::F8E4M3Fnuz),
        (19, Narrow::F8E5M2),
        (20, Narrow::F8E5M2Fnuz),
        (21, Narrow::U4),
        (22, Narrow::I4),
        (23, Narrow::F4E2M1),
        (24, Narrow::F8E8M0),
        (25, Narrow::U2),
        (26, Narrow::I2),
    ];

    /// Returns the type of a code of `TensorProto.DataType`; `None` for types that tensors have.
    pub fn of_code(code: i64) -> Option<Narrow> {
        Narrow::CODES.iter().find(|(c, _)| *c == code).map(|(_, narrow)| *narrow)
    }

    /// Returns the element type of a tensor that holds the numbers.
    pub fn holder(self) -> DType {
        match self {
            Narrow::I2 | Narrow::I4 => DType::I8,
            Narrow::U2 | Narrow::U4 => DType::U8,
            Narrow::F4E2M1 | Narrow::F8E4M3 | Narrow::F8E4M3Fnuz => DType::F32,
            Narrow::F8E5M2 | Narrow::F8E5M2Fnuz | Narrow::F8E8M0 => DType::F32,
        }
    }

    /// Returns the unsigned integer of `bits` bits; `None` if tensors have a type for it.
    pub fn unsigned(bits: usize) -> Option<Narrow> {
        match bits {
            2 => Some(Narrow::U2),
            4 => Some(Narrow::U4),
            _ => None,
        }
    }

    /// Returns the number of bits of an integer; `None` for floats.
    pub fn bits(self) -> Option<usize> {
        match self {
            Narrow::I2 | Narrow::U2 => Some(2),
            Narrow::I4 | Narrow::U4 => Some(4),
            _ => None,
        }
    }

    /// Returns the numbers of the type and their holder.
    pub fn quantised_type(self) -> QuantisedType {
        let whole = |low, high| Grid::Whole { low, high };
        let float = |fraction, exponent, largest| Grid::Float { fraction, exponent, largest };
        let grid = match self {
            Narrow::I2 => whole(-2, 1),
            Narrow::U2 => whole(0, 3),
            Narrow::I4 => whole(-8, 7),
            Narrow::U4 => whole(0, 15),
            Narrow::F4E2M1 => float(1, 0, 6.0),
            Narrow::F8E4M3 => float(3, -6, 448.0),
            Narrow::F8E4M3Fnuz => float(3, -7, 240.0),
            Narrow::F8E5M2 => float(2, -14, 57344.0),
            Narrow::F8E5M2Fnuz => float(2, -15, 57344.0),
            Narrow::F8E8M0 => float(0, -126, f32::MAX),
        };
        QuantisedType { grid, dtype: self.holder() }
    }

    /// Returns the number that a float of the file stands for; `None` for integers, which need no conversion.
    pub fn float(self, bits: u8) -> Option<f32> {
        // Bits of the fraction, bias of the exponent.
        let (fraction, bias) = match self {
            Narrow::I2 | Narrow::U2 | Narrow::I4 | Narrow::U4 => return None,
            Narrow::F8E8M0 if bits == 255 => return Some(f32::NAN),
            Narrow::F8E8M0 => return Some((f64::from(bits) - 127.0).exp2() as f32),
            Narrow::F8E4M3 if bits & 127 == 127 => return Some(f32::NAN),
            Narrow::F8E4M3Fnuz | Narrow::F8E5M2Fnuz if bits == 128 => return Some(f32::NAN),
            Narrow::F8E5M2 if bits & 127 > 124 => return Some(f32::NAN),
            Narrow::F8E5M2 if bits == 124 => return Some(f32::INFINITY),
            Narrow::F8E5M2 if bits == 252 => return Some(f32::NEG_INFINITY),
            Narrow::F4E2M1 => (1, 1),
            Narrow::F8E4M3 => (3, 7),
            Narrow::F8E4M3Fnuz => (3, 8),
            Narrow::F8E5M2 => (2, 15),
            Narrow::F8E5M2Fnuz => (2, 16),
        };
        let sign_bit = if self == Narrow::F4E2M1 { 8 } else { 128 };
        let magnitude = bits & (sign_bit - 1);
        let (exponent, rest) =
            (i32::from(magnitude >> fraction), f64::from(magnitude & ((1 << fraction) - 1)));
        let scale = f64::from(1 << fraction);
        let value = match exponent {
            0 => rest / scale * f64::from(1 - bias).exp2(),
            _ => (1.0 + rest / scale) * f64::from(exponent - bias).exp2(),
        };
        Some(if bits & sign_bit == 0 { value } else { -value } as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_few_bits_have_the_values_of_the_standard() {
        let cases: [(Narrow, u8, f32); 14] = [
            (Narrow::F8E4M3, 0x7e, 448.0),
            (Narrow::F8E4M3, 0x01, 0.001953125),
            (Narrow::F8E4M3, 0xb8, -1.0),
            (Narrow::F8E4M3Fnuz, 0x7f, 240.0),
            (Narrow::F8E4M3Fnuz, 0x40, 1.0),
            (Narrow::F8E5M2, 0x7b, 57344.0),
            (Narrow::F8E5M2, 0x3c, 1.0),
            (Narrow::F8E5M2, 0xfc, f32::NEG_INFINITY),
            (Narrow::F8E5M2Fnuz, 0x7f, 57344.0),
            (Narrow::F8E5M2Fnuz, 0x40, 1.0),
            (Narrow::F8E8M0, 127, 1.0),
            (Narrow::F4E2M1, 0x7, 6.0),
            (Narrow::F4E2M1, 0x1, 0.5),
            (Narrow::F4E2M1, 0xa, -1.0),
        ];
        for (narrow, bits, value) in cases {
            assert_eq!(narrow.float(bits), Some(value), "{narrow:?} {bits:#x}");
            let Grid::Float { largest, .. } = narrow.quantised_type().grid else { panic!("a float type") };
            assert!(value.is_infinite() || value.abs() <= largest, "{narrow:?}");
        }
        for (narrow, bits) in [(Narrow::F8E4M3, 0xff), (Narrow::F8E4M3Fnuz, 0x80), (Narrow::F8E5M2, 0x7d)] {
            assert!(narrow.float(bits).is_some_and(f32::is_nan), "{narrow:?} {bits:#x}");
        }
        assert_eq!(Narrow::I4.float(7), None);
    }
}
