//! `mma.sync.m16n8k8` of tf32 operands with float32 sums, fragment by fragment as the PTX ISA lays them out.

use super::Complaint;
use crate::program::L32;

/// `d = a · b + c` for `a` (4 registers), `b` (2) and `c` (4). Sums run in order of depth; hardware keeps other bits.
pub(super) fn m16n8k8(operands: &[L32]) -> Result<[L32; 4], Complaint> {
    let [a0, a1, a2, a3, b0, b1, c @ ..] = operands else {
        return Err(("tensor-core product", "operands".into()));
    };
    for r in [a0, a1, a2, a3, b0, b1] {
        if r.iter().any(|v| v & 0x1fff != 0) {
            return Err(("tensor-core operand not rounded to tf32", String::new()));
        }
    }
    let (mut a, mut b) = ([[0f32; 8]; 16], [[0f32; 8]; 8]);
    for lane in 0..32 {
        let (group, at) = (lane / 4, lane % 4);
        for (row, column, r) in [(0, 0, a0), (8, 0, a1), (0, 4, a2), (8, 4, a3)] {
            a[group + row][at + column] = f32::from_bits(r[lane]);
        }
        for (column, r) in [(0, b0), (4, b1)] {
            b[group][at + column] = f32::from_bits(r[lane]);
        }
    }
    let mut d = [[0; 32]; 4];
    for lane in 0..32 {
        let (group, at) = (lane / 4, lane % 4);
        for (e, (d, c)) in d.iter_mut().zip(c).enumerate() {
            let (row, column) = (group + 8 * (e / 2), 2 * at + e % 2);
            let sum = (0..8).fold(f32::from_bits(c[lane]), |sum, k| sum + a[row][k] * b[column][k]);
            d[lane] = sum.to_bits();
        }
    }
    Ok(d)
}
