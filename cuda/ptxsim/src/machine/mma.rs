//! `mma.sync` of tf32 or bfloat16 operands with float32 sums, with the fragment layouts of the PTX ISA.

use super::FaultText;
use crate::program::{L32, MmaType};

/// Sums of tensor cores, whose rounding the instruction set leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TensorSums {
    /// Each addition is rounded to nearest, in order of depth.
    #[default]
    Rounded,
    /// Blocks of four (tf32) or eight (bfloat16) products and the sum so far are aligned to the largest of them and truncated to 24
    /// bits, as the result is. V100 does so; newer chips keep a bit or two more \[fasi2021\].
    Truncated,
}

/// Computes `d = a · b + c` for `a` (4 registers), `b` (2) and `c` (4). Sums run in order of depth.
pub(super) fn product(mma: MmaType, sums: TensorSums, operands: &[L32]) -> Result<[L32; 4], FaultText> {
    let [left @ .., b0, b1, c0, c1, c2, c3] = operands else {
        return Err(("tensor-core product", "operands".into()));
    };
    let (&[a0, a1, a2, a3], c) = (left, [c0, c1, c2, c3]) else {
        return Err(("tensor-core product", "operands".into()));
    };
    let (mut a, mut b) = ([[0f32; 16]; 16], [[0f32; 16]; 8]);
    // Depth, and products that a truncating unit adds at a time.
    let (depth, block) = match mma {
        MmaType::Tf32 => (8, 4),
        MmaType::Bf16 => (16, 8),
    };
    for lane in 0..32 {
        let (group, at) = (lane / 4, lane % 4);
        for (i, register) in [a0, a1, a2, a3].iter().enumerate() {
            put(mma, &mut a[group + 8 * (i % 2)], (at, i / 2), register[lane])?;
        }
        for (i, register) in [b0, b1].into_iter().enumerate() {
            put(mma, &mut b[group], (at, i), register[lane])?;
        }
    }
    let mut d = [[0; 32]; 4];
    for lane in 0..32 {
        let (group, at) = (lane / 4, lane % 4);
        for (e, (d, c)) in d.iter_mut().zip(c).enumerate() {
            let (row, column) = (group + 8 * (e / 2), 2 * at + e % 2);
            let start = f32::from_bits(c[lane]);
            let sum = match sums {
                TensorSums::Rounded => (0..depth).fold(start, |sum, k| sum + a[row][k] * b[column][k]),
                TensorSums::Truncated => (0..depth).step_by(block).fold(start, |sum, first| {
                    let pairs = a[row][first..].iter().zip(&b[column][first..]).take(block);
                    truncated(sum, pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)))
                }),
            };
            d[lane] = sum.to_bits();
        }
    }
    Ok(d)
}

/// Stores a lane's register for one half of the depth in its row of the matrix.
fn put(mma: MmaType, row: &mut [f32; 16], (at, half): (usize, usize), bits: u32) -> Result<(), FaultText> {
    match mma {
        // Hardware ignores the lower bits, so only a NaN that needs them is at fault.
        MmaType::Tf32 if bits & 0x1fff != 0 && !f32::from_bits(bits & 0xffff_e000).is_nan() => {
            return Err(("tensor-core operand not rounded to tf32", String::new()));
        }
        MmaType::Tf32 => row[at + 4 * half] = f32::from_bits(bits),
        MmaType::Bf16 => {
            row[2 * at + 8 * half] = f32::from_bits(bits << 16);
            row[2 * at + 1 + 8 * half] = f32::from_bits(bits & 0xffff_0000);
        }
    }
    Ok(())
}

/// Bits below the leading one of the largest term that a truncating unit keeps.
const KEPT_BITS: i32 = 23;

/// Adds exact products to a sum. All terms are aligned to the largest one and truncated; so is the result.
fn truncated(sum: f32, products: impl Iterator<Item = f64> + Clone) -> f32 {
    let terms = || std::iter::once(f64::from(sum)).chain(products.clone());
    let largest = terms().map(f64::abs).fold(0.0, f64::max);
    if largest == 0.0 || !terms().all(f64::is_finite) {
        // Zeros, infinities and NaN are exact.
        return products.fold(sum, |sum, p| sum + p as f32);
    }
    // Products of floats are normal numbers in float64.
    let exponent = (largest.to_bits() >> 52) as i32 - 1023;
    let unit = 2f64.powi(exponent - KEPT_BITS);
    let total: i64 = terms().map(|t| (t / unit) as i64).sum();
    let exact = total as f64 * unit;
    let nearest = exact as f32;
    if exact.abs() < f64::from(f32::MAX) && f64::from(nearest).abs() > exact.abs() {
        f32::from_bits(nearest.to_bits() - 1)
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncating_unit_drops_what_lies_below_its_largest_term() {
        let unit = 2f64.powi(-23);
        // Each of four products is just below the unit in the last place of the sum.
        assert_eq!(truncated(1.0, [0.9 * unit; 4].into_iter()), 1.0);
        assert_eq!(truncated(1.0, [1.9 * unit; 4].into_iter()), 1.0 + 4.0 * unit as f32);
        assert_eq!(truncated(-1.0, [-0.9 * unit; 4].into_iter()), -1.0);
        // The result is truncated, too: three units of the terms are one and a half of the result's.
        assert_eq!(truncated(1.5, [0.5, 3.0 * unit, 0.0, 0.0].into_iter()), 2.0 + 2.0 * unit as f32);
        assert_eq!(truncated(0.0, [0.0; 4].into_iter()), 0.0);
        assert_eq!(truncated(f32::MAX, [f64::from(f32::MAX), 0.0, 0.0, 0.0].into_iter()), f32::INFINITY);
        assert!(truncated(0.0, [f64::NAN, 1.0, 0.0, 0.0].into_iter()).is_nan());
        assert_eq!(truncated(1.0, [f64::INFINITY, 1.0, 0.0, 0.0].into_iter()), f32::INFINITY);
        let subnormal = f32::from_bits(5);
        assert_eq!(truncated(subnormal, [f64::from(subnormal), 0.0, 0.0, 0.0].into_iter()).to_bits(), 10);
    }
}
