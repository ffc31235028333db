//! `mma.sync` of tf32 or bfloat16 operands with float32 sums, fragment by fragment as the PTX ISA lays them out.

use super::Complaint;
use crate::program::{L32, Operands};

/// `d = a · b + c` for `a` (4 registers), `b` (2) and `c` (4). Sums run in order of depth; hardware keeps other bits.
pub(super) fn product(kind: Operands, operands: &[L32]) -> Result<[L32; 4], Complaint> {
    let [left @ .., b0, b1, c0, c1, c2, c3] = operands else {
        return Err(("tensor-core product", "operands".into()));
    };
    let (&[a0, a1, a2, a3], c) = (left, [c0, c1, c2, c3]) else {
        return Err(("tensor-core product", "operands".into()));
    };
    let (mut a, mut b) = ([[0f32; 16]; 16], [[0f32; 16]; 8]);
    let depth = match kind {
        Operands::Tf32 => 8,
        Operands::Bf16 => 16,
    };
    for lane in 0..32 {
        let (group, at) = (lane / 4, lane % 4);
        for (i, register) in [a0, a1, a2, a3].iter().enumerate() {
            put(kind, &mut a[group + 8 * (i % 2)], (at, i / 2), register[lane])?;
        }
        for (i, register) in [b0, b1].into_iter().enumerate() {
            put(kind, &mut b[group], (at, i), register[lane])?;
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

/// Puts what a lane has of one half of the depth into its row.
fn put(kind: Operands, row: &mut [f32; 16], (at, half): (usize, usize), bits: u32) -> Result<(), Complaint> {
    match kind {
        Operands::Tf32 if bits & 0x1fff != 0 => {
            return Err(("tensor-core operand not rounded to tf32", String::new()));
        }
        Operands::Tf32 => row[at + 4 * half] = f32::from_bits(bits),
        Operands::Bf16 => {
            row[2 * at + 8 * half] = f32::from_bits(bits << 16);
            row[2 * at + 1 + 8 * half] = f32::from_bits(bits & 0xffff_0000);
        }
    }
    Ok(())
}
