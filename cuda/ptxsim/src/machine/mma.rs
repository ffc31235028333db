//! `mma.sync` of tf32 or bfloat16 operands with float32 sums, with the fragment layouts of the PTX ISA.

use super::FaultText;
use crate::program::{L32, MmaType};

/// Computes `d = a · b + c` for `a` (4 registers), `b` (2) and `c` (4). Sums run in order of depth; hardware rounds differently.
pub(super) fn product(mma: MmaType, operands: &[L32]) -> Result<[L32; 4], FaultText> {
    let [left @ .., b0, b1, c0, c1, c2, c3] = operands else {
        return Err(("tensor-core product", "operands".into()));
    };
    let (&[a0, a1, a2, a3], c) = (left, [c0, c1, c2, c3]) else {
        return Err(("tensor-core product", "operands".into()));
    };
    let (mut a, mut b) = ([[0f32; 16]; 16], [[0f32; 16]; 8]);
    let depth = match mma {
        MmaType::Tf32 => 8,
        MmaType::Bf16 => 16,
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
            let sum = (0..depth).fold(f32::from_bits(c[lane]), |sum, k| sum + a[row][k] * b[column][k]);
            d[lane] = sum.to_bits();
        }
    }
    Ok(d)
}

/// Stores a lane's register for one half of the depth in its row of the matrix.
fn put(mma: MmaType, row: &mut [f32; 16], (at, half): (usize, usize), bits: u32) -> Result<(), FaultText> {
    match mma {
        MmaType::Tf32 if bits & 0x1fff != 0 => {
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
