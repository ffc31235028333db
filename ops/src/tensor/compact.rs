//! Float32 values that are stored in fewer bits, as model files have them: floats of 16 bits, or whole numbers of at most 8 bits with
//! scales and zero points. Readers widen them piece by piece, so that no float32 copy of a weight is in memory.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::dtype::{Bytes, DType};
use super::steps::Steps;

/// Type of the stored numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// 16-bit float, IEEE 754.
    F16,
    /// 16-bit brain float: the upper half of a 32-bit float.
    Bf16,
    /// Whole numbers, packed into bytes from the low bits on.
    Whole {
        /// Number of bits: 2, 4 or 8.
        bits: usize,
        /// True for two's complement.
        signed: bool,
    },
}

impl Numbers {
    /// Returns the type of the numbers that tensors of `dtype` hold; `None` for types of other sizes.
    pub fn of(dtype: DType) -> Option<Numbers> {
        match dtype {
            DType::F16 => Some(Numbers::F16),
            DType::Bf16 => Some(Numbers::Bf16),
            DType::I8 => Some(Numbers::Whole { bits: 8, signed: true }),
            DType::U8 => Some(Numbers::Whole { bits: 8, signed: false }),
            _ => None,
        }
    }

    /// Returns the number of bytes of `elems` numbers.
    fn bytes(self, elems: usize) -> Option<usize> {
        match self {
            Numbers::F16 | Numbers::Bf16 => elems.checked_mul(2),
            Numbers::Whole { bits: bits @ (2 | 4 | 8), .. } => Some(elems.div_ceil(8 / bits)),
            Numbers::Whole { .. } => None,
        }
    }
}

/// Float32 values that are stored in fewer bits.
pub struct Compact {
    numbers: Numbers,
    bytes: Bytes,
    pub(super) elems: usize,
    steps: Option<Steps>,
    /// All values, once something has read their bytes.
    widened: OnceLock<Vec<u8>>,
}

impl Compact {
    /// Wraps the bytes of `elems` numbers; `None` if they do not match, or if the scales do not.
    pub fn new(numbers: Numbers, elems: usize, bytes: Bytes, steps: Option<Steps>) -> Option<Compact> {
        let is_complete = numbers.bytes(elems) == Some((*bytes).as_ref().len());
        let fits = steps.as_ref().is_none_or(|steps| steps.fits(elems));
        (is_complete && fits).then(|| Compact { numbers, bytes, elems, steps, widened: OnceLock::new() })
    }

    /// Packs whole numbers of which each is a byte to numbers of `bits` bits.
    pub fn pack(bits: usize, unpacked: impl Iterator<Item = u8>) -> Vec<u8> {
        let (mut bytes, mut filled) = (vec![], 8);
        let mask = (u16::MAX << bits) as u8;
        for number in unpacked {
            if filled == 8 {
                bytes.push(0);
                filled = 0;
            }
            if let Some(last) = bytes.last_mut() {
                *last |= (number & !mask) << filled;
            }
            filled += bits;
        }
        bytes
    }

    /// Returns the type of the numbers.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Returns the numbers as they are stored.
    pub fn stored(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Returns the scales and zero points; `None` if numbers are values.
    pub fn steps(&self) -> Option<&Steps> {
        self.steps.as_ref()
    }

    /// Returns the same numbers with other scales and zero points; `None` if these do not match.
    pub fn with_steps(&self, steps: Steps) -> Option<Compact> {
        Compact::new(self.numbers, self.elems, self.bytes.clone(), Some(steps))
    }

    /// Writes the values of the elements from `at` on.
    ///
    /// # Panics
    /// If there are not as many.
    #[inline(always)]
    pub fn widen(&self, at: usize, values: &mut [f32]) {
        let bytes = self.stored();
        assert!(at + values.len() <= self.elems, "elements beyond the end");
        match self.numbers {
            Numbers::Bf16 => words(bytes, at, values, |word| f32::from_bits(u32::from(word) << 16)),
            Numbers::F16 => words(bytes, at, values, half_to_float),
            Numbers::Whole { bits: 8, signed: true } => {
                let pairs = values.iter_mut().zip(&bytes[at..]);
                pairs.for_each(|(v, byte)| *v = f32::from(*byte as i8));
            }
            Numbers::Whole { bits: 4, signed } => parts::<4, 2>(bytes, at, values, signed),
            Numbers::Whole { bits: 2, signed } => parts::<2, 4>(bytes, at, values, signed),
            Numbers::Whole { .. } => {
                values.iter_mut().zip(&bytes[at..]).for_each(|(v, byte)| *v = f32::from(*byte));
            }
        }
        if let Some(steps) = &self.steps {
            steps.apply(at, values);
        }
    }

    /// Returns all values.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.elems];
        self.widen(0, &mut values);
        values
    }

    /// Returns the values as bytes, little-endian. The first call widens them all, and they stay in memory.
    pub(super) fn widened(&self) -> &[u8] {
        self.widened.get_or_init(|| self.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Returns the number of bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        let steps = self.steps.as_ref().map_or(0, |s| 4 * (s.scales.len() + s.zeros.len()));
        self.stored().len() + steps + self.widened.get().map_or(0, Vec::len)
    }
}

/// Writes the values of 16-bit words from number `at` on.
#[inline(always)]
fn words(bytes: &[u8], at: usize, values: &mut [f32], value: impl Fn(u16) -> f32) {
    let words = bytes[2 * at..].as_chunks::<2>().0;
    values.iter_mut().zip(words).for_each(|(v, word)| *v = value(u16::from_le_bytes(*word)));
}

/// Converts a 16-bit float without branches, so that loops are vectorised.
#[inline(always)]
fn half_to_float(half: u16) -> f32 {
    const EXPONENT: u32 = 0x7c00 << 13;
    let (sign, shifted) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff) << 13);
    let exponent = shifted & EXPONENT;
    // Exponents are biased by 15 and by 127.
    let normal = shifted.wrapping_add(112 << 23);
    let special = normal.wrapping_add(112 << 23);
    // Below 2⁻¹⁴, the implicit first bit is 0.
    let small = (f32::from_bits(normal.wrapping_add(1 << 23)) - f32::from_bits(113 << 23)).to_bits();
    let magnitude = if exponent == EXPONENT { special } else { normal };
    f32::from_bits(sign | if exponent == 0 { small } else { magnitude })
}

/// Writes whole numbers of `BITS` bits, `COUNT` in a byte, from number `at` on.
#[inline(always)]
fn parts<const BITS: usize, const COUNT: usize>(bytes: &[u8], at: usize, values: &mut [f32], signed: bool) {
    let sign = if signed { 1u8 << (BITS - 1) } else { 0 };
    let mask = (1u8 << BITS) - 1;
    // Of two's complement, `x ^ sign` counts from the smallest number on.
    let (offset, value) = (f32::from(sign), |part: u8| f32::from((part & mask) ^ sign));
    let (head, rest) = values.split_at_mut(values.len().min((COUNT - at % COUNT) % COUNT));
    let single = |i: usize| value(bytes[i / COUNT] >> (i % COUNT * BITS)) - offset;
    head.iter_mut().enumerate().for_each(|(i, v)| *v = single(at + i));
    let first = at + head.len();
    let (whole, tail) = rest.as_chunks_mut::<COUNT>();
    for (values, byte) in whole.iter_mut().zip(&bytes[first / COUNT..]) {
        *values = std::array::from_fn(|i| value(byte >> (i * BITS)) - offset);
    }
    let first = first + COUNT * whole.len();
    tail.iter_mut().enumerate().for_each(|(i, v)| *v = single(first + i));
}

impl PartialEq for Compact {
    fn eq(&self, other: &Compact) -> bool {
        self.numbers == other.numbers && self.stored() == other.stored() && self.steps == other.steps
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values of {:?}", self.elems, self.numbers)
    }
}

/// Memory of a tensor.
#[derive(Clone)]
pub(super) enum Data {
    /// Elements, little-endian and row-major.
    Plain(Bytes),
    /// Float32 values in fewer bits.
    Compact(Arc<Compact>),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::tensor::Tensor;

    /// Checks pieces of the values against all of them.
    fn check(values: Compact, expected: &[f32]) {
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&values.to_f32()), bits(expected), "{values:?}");
        for at in [0, 1, 2, 3, 5, 31, 40] {
            for len in [0, 1, 2, 7, 16, 33] {
                let mut piece = vec![0.0; len];
                values.widen(at, &mut piece);
                assert_eq!(bits(&piece), bits(&expected[at..at + len]), "{values:?} {at} {len}");
            }
        }
    }

    #[test]
    fn every_half_is_widened_exactly() {
        let words: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let floats = |f: fn(u16) -> f32| (0..=u16::MAX).map(f).collect::<Vec<f32>>();
        let exact = floats(|word| f16::from_bits(word).to_f32());
        let values = Compact::new(Numbers::F16, 1 << 16, Arc::new(words.clone()), None).unwrap();
        for (value, expected) in values.to_f32().iter().zip(&exact) {
            assert!(
                value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan()),
                "{expected}"
            );
        }
        let values = Compact::new(Numbers::Bf16, 1 << 16, Arc::new(words), None).unwrap();
        for (value, expected) in values.to_f32().iter().zip(floats(|word| bf16::from_bits(word).to_f32())) {
            assert!(
                value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan()),
                "{expected}"
            );
        }
    }

    #[test]
    fn whole_numbers_have_the_scales_of_their_axis_or_block() {
        // Elements [4, 6, 5]; steps of the middle axis, which has blocks of 4 indices, or of the others.
        let unpacked: Vec<u8> = (0..120u32).map(|i| (i * 53 % 256) as u8).collect();
        let zeros = |n: usize| (0..n).map(|i| i as f32 - 3.0).collect::<Vec<f32>>();
        let scales = |n: usize| (0..n).map(|i| 0.1 + i as f32).collect::<Vec<f32>>();
        let layouts = [
            (1, 1, 1, false),
            (6, 5, 1, false),
            (5, 1, 1, false),
            (6, 5, 4, false),
            (6, 5, 4, true),
            (5, 1, 2, true),
        ];
        for (bits, signed) in [(8, false), (8, true), (4, false), (4, true), (2, false), (2, true)] {
            let number = |byte: u8| {
                let part = i32::from(byte) & ((1 << bits) - 1);
                (if signed && part >= 1 << (bits - 1) { part - (1 << bits) } else { part }) as f32
            };
            let packed = Arc::new(Compact::pack(bits, unpacked.iter().copied()));
            for (len, inner, block, by_element) in layouts {
                let blocks = usize::div_ceil(len, block);
                let count = if by_element { 120 / len * blocks } else { blocks };
                for zeros in [vec![2.0], zeros(count)] {
                    let steps = Steps { scales: scales(count), zeros, len, inner, block, by_element };
                    let expected = |(i, byte): (usize, &u8)| {
                        let of_axis = i / inner % len / block;
                        let step = if by_element {
                            (i / (len * inner) * blocks + of_axis) * inner + i % inner
                        } else {
                            of_axis
                        };
                        let zero = if steps.zeros.len() == 1 { steps.zeros[0] } else { steps.zeros[step] };
                        (number(*byte) - zero) * steps.scales[step]
                    };
                    let expected: Vec<f32> = unpacked.iter().enumerate().map(expected).collect();
                    let numbers = Numbers::Whole { bits, signed };
                    check(
                        Compact::new(numbers, 120, packed.clone(), Some(steps.clone())).unwrap(),
                        &expected,
                    );
                }
            }
        }
        let steps =
            Steps { scales: scales(5), zeros: vec![0.0], len: 6, inner: 5, block: 1, by_element: false };
        let numbers = Numbers::Whole { bits: 8, signed: true };
        assert!(
            Compact::new(numbers, 120, Arc::new(unpacked.clone()), Some(steps)).is_none(),
            "too few scales"
        );
        assert!(Compact::new(numbers, 121, Arc::new(unpacked), None).is_none(), "too few numbers");
    }

    #[test]
    fn bytes_are_widened_when_they_are_read() {
        let values = || {
            Compact::new(Numbers::Bf16, 4, Arc::new(vec![0, 0x3f, 0x80, 0x3f, 0, 0x40, 0, 0xc0]), None)
                .unwrap()
        };
        let tensor = Tensor::compact(&[2, 2], values()).unwrap();
        let plain = Tensor::from_f32(&[2, 2], &[0.5, 1.0, 2.0, -2.0]);
        assert_eq!((&tensor, tensor.memory_bytes(), tensor.as_f32()), (&plain, 8, None));
        assert_eq!((tensor.bytes(), tensor.memory_bytes()), (plain.bytes(), 24));
        assert_eq!(tensor.to_f64(), [0.5, 1.0, 2.0, -2.0]);
        assert_eq!(tensor.view().to_i64(), [0, 1, 2, -2]);
        assert!(Tensor::compact(&[3], values()).is_none());
        assert!(
            Tensor::compact_if_large(&[2, 2], values()).unwrap().as_f32().is_some(),
            "small tensors are plain"
        );
    }
}
